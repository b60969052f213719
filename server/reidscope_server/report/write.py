"""Report -> a folder: each file there whole or not at all, the signed copy last."""

from __future__ import annotations

from pathlib import Path

from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.errors import InvariantError
from reidscope_protocols.report import Report
from reidscope_server.report.page import page
from reidscope_server.report.sheets import sheets

JSON_FILE = "report.json"
SIGNED_FILE = "report.dsse.json"
PAGE_FILE = "index.html"
_PUBLIC = 0o644


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
    out.mkdir(parents=True, exist_ok=True)
    files = {
        **sheets(report),
        PAGE_FILE: page(report).encode(),
        JSON_FILE: payload,
        SIGNED_FILE: envelope,
    }
    for name, content in files.items():
        write_durably(out / name, content, mode=_PUBLIC)
