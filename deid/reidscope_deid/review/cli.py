"""`reidscope-deid`: page, contact-sheet, officer-keygen, signoff."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reidscope_deid.review.contact_sheet import write_sheet
from reidscope_deid.review.page import record_page
from reidscope_deid.review.record_file import read_record
from reidscope_deid.review.sampling import draw
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, InputError, NoDicomError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console()

RecordJson = Annotated[Path, typer.Argument(metavar="RECORD", help="JSON, from run --report.")]
OutFolder = Annotated[Path, typer.Argument(metavar="OUT", help="Folder that run wrote.")]
EachSeries = Annotated[
    bool, typer.Option("--each-series", help="At least one file of each series.")
]
FullRange = Annotated[
    bool, typer.Option("--full-range", help="All grey values, not the file's window.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a sentence.")]


@app.command()
def page(
    record: RecordJson,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="HTML page to write.")],
) -> None:
    """Write the record as a page to read, to print and to sign."""
    _, parsed = read_record(record)
    write_page(file, record_page(parsed))
    _out.print("A page, whole in itself: open it in any browser.")


@app.command(name="contact-sheet")
def contact_sheet(  # noqa: PLR0917 - typer reads the options off the signature
    out: OutFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.png or FILE.html to write.")],
    share: Annotated[float, typer.Option("--share", help="Of the files, drawn by UID.")] = 0.01,
    review: Annotated[
        Path | None, typer.Option("--review", help="Record: its files to review are always on.")
    ] = None,
    each_series: EachSeries = False,  # noqa: FBT002 - a flag of the command line
    size: Annotated[int, typer.Option("--size", help="Longer side of an image, pixels.")] = 320,
    full_range: FullRange = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Draw a share of the outputs and lay their images out for a person to look at."""
    wanted = () if review is None else read_record(review)[1].review
    drawn = draw(below(out), share=share, review=wanted, each_series=each_series)
    if not drawn:
        raise NoDicomError("OUT", got="no DICOM", expected="what run wrote", do="name another")
    sheet = write_sheet(drawn, file, size=size, full_range=full_range)
    _out.print(
        f"{sheet.images} images of {sheet.files} files on {len(sheet.pages)} pages; "
        f"{sheet.unseen} files could not be shown. Drawn by the SHA-256 of their new UIDs."
    )
    missing = len(set(wanted) - {one.uid for one in drawn})
    if missing:
        _out.print(f"{missing} files that the record asks to review are not in OUT.")


@app.command(name="officer-keygen")
def officer_keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New file; FILE.pub beside it.")],
) -> None:
    """Write a new signing key; an existing file is never overwritten."""
    # Here and below: what signs takes a while to load, and run has no need of it.
    from reidscope_deid.review.signoff import generate_officer_key  # noqa: PLC0415 - said above

    generate_officer_key(file)
    _out.print("A new key, readable by you alone, and its public half beside it to hand out.")


@app.command()
def signoff(  # noqa: PLR0917 - typer reads the options off the signature
    record: RecordJson,
    out: OutFolder,
    key: Annotated[
        Path | None, typer.Option("--key", help="Ed25519 private key: PEM, or OpenSSH's.")
    ] = None,
    role: Annotated[str, typer.Option("--role", help="Role of who signs, no name.")] = (
        "privacy-officer"
    ),
    check: Annotated[bool, typer.Option("--check", help="Check a signature.")] = False,  # noqa: FBT002 - a flag of the command line
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="To check with: PEM, or OpenSSH's.")
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Sign a record and the very files of OUT, or check that both are still what was signed."""
    from reidscope_deid.review import signoff as signing  # noqa: PLC0415 - as above

    files = below(out)
    if check in {public_key is None, key is not None}:
        raise ConfigError(
            "signoff",
            got="options that do not go together",
            expected="--key KEY to sign, or --check --public-key KEY",
            do="give one pair",
        )
    if record.resolve().is_relative_to(out.resolve()):
        raise ConfigError(
            "the record",
            got="a place inside the folder that is signed",
            expected="a place outside it",
            do="move it: its signature will stand beside it",
        )
    if key is not None:
        signing.sign_off(record, files, signing.load_officer_key(key), role=role)
        _out.print(f"Signed as {role}: the record and {len(files)} files.")
        return
    # Safety: one of the two keys was given, as checked above.
    assert public_key is not None
    found = signing.check_sign_off(record, files, signing.load_public_key(public_key))
    if as_json:
        _out.print_json(json.dumps(found.model_dump(mode="json", by_alias=True)))
    else:
        day = found.signed_at.date().isoformat()
        _out.print(f"Signed as {found.role} on {day}: record and {len(files)} files unchanged.")


def below(folder: Path) -> list[Path]:
    """Every file below a folder, in order.

    Raises
    ------
    InputError
        There is no such folder.
    """
    if not folder.is_dir():
        raise InputError("the folder", got="no folder", expected="a folder", do="name another")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_page(file: Path, text: str) -> None:
    """Write a page for people, whole or not at all.

    Raises
    ------
    ConfigError
        There is no folder to write it to.
    """
    if not file.parent.is_dir():
        raise ConfigError("the page", got="no such folder", expected="a folder", do="make it first")
    write_durably(file, text.encode())
