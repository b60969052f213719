"""Report -> a folder: each file there whole or not at all, the signed copy last."""

from __future__ import annotations

from pathlib import Path

from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.errors import InvariantError
from reidscope_protocols.report import Report
from reidscope_server.report.crate import CRATE_FILE, crate
from reidscope_server.report.figures import FOLDER, drawn_as_svg, png_files, sketches, svg_files
from reidscope_server.report.methods import METHODS_FILE, methods_text
from reidscope_server.report.page import PAGE_FILE, page
from reidscope_server.report.sheets import sheets

JSON_FILE = "report.json"
SIGNED_FILE = "report.dsse.json"
_PUBLIC = 0o644


def said_in_words(report: Report) -> dict[str, bytes]:
    """Return the files that hold words and numbers alone: the same bytes on every machine."""
    return {**sheets(report), METHODS_FILE: methods_text(report)}


def write_report(out: Path, report: Report, envelope: bytes) -> None:
    """Write a signed report into `out`, which is made if it is not there.

    Parameters
    ----------
    out : Path
        Folder.
    report : Report
        The statement that `envelope` holds.
    envelope : bytes
        DSSE, by the coordinator's key: `envelope.sign(report, key)`. `report.json` is its payload,
        byte for byte.

    Raises
    ------
    InvariantError
        `envelope` holds another report.
    """
    payload = peek_payload(envelope)
    if Report.parse(payload) != report:
        raise InvariantError(
            "report", got="an envelope of another one", expected="its own", do="tell its authors"
        )
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    made = sketches(report)
    drawn = drawn_as_svg(made)
    files = {
        **said_in_words(report),
        **svg_files(drawn),
        **png_files(made),
        PAGE_FILE: page(report, drawn).encode(),
        JSON_FILE: payload,
        SIGNED_FILE: envelope,
    }
    described = {CRATE_FILE: crate(report, files)}
    for name, content in {**described, **files}.items():
        write_durably(out / name, content, mode=_PUBLIC)
