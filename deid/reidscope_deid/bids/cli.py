"""`reidscope-deid bids`: a cleaned copy of a BIDS dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from reidscope_deid.bids.dataset import BidsRecord, clean_dataset
from reidscope_deid.keys import load_key
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError, UnparsableDicomError
from reidscope_protocols.terminal import progress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_out = Console()


@app.command(name="bids")
def bids_command(  # noqa: PLR0917 - typer reads the options off the signature
    source: Annotated[Path, typer.Argument(metavar="IN", help="BIDS dataset; only read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")],
    key: Annotated[Path, typer.Option("--key", help="Key file, from keygen.")],
    study: Annotated[
        str | None,
        typer.Option("--study", help="Use this study's own key: unlinkable to other studies."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="JSON record to write.")] = None,
    as_json: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--json", help="Print JSON instead of a table.")
    ] = False,
) -> None:
    """Clean a BIDS dataset: names, sidecars, tables and NIfTI headers; faces stay in the voxels."""
    if report is not None and not report.parent.is_dir():
        raise ConfigError("--report", got="no such folder", expected="a folder", do="make it first")
    site_key = load_key(key)
    run_key = site_key if study is None else site_key.for_study(study)
    with progress("cleaning participants") as tell:
        record = clean_dataset(source, out, key=run_key, progress=tell)
    document = json.dumps(record.document(), indent=1)
    if report is not None:
        write_durably(report, document.encode())
    if as_json:
        _out.print_json(document)
    else:
        _show(record)
    if record.failures or not record.people:
        raise UnparsableDicomError(
            "the dataset",
            got=f"{record.failures} files that are not sound, {record.people} people written",
            expected="sound anatomical images",
            do="see the reasons above; what is in the output is whole and verified",
        )


def _show(record: BidsRecord) -> None:
    grid = Grid("files", "count", title="BIDS dataset")
    for kind, count in sorted(record.written.items()):
        grid.add_row(f"written: {kind}", str(count))
    for reason, count in sorted(record.left_out.items()):
        grid.add_row(f"left out: {reason.value}", str(count))
    for what, count in sorted(record.contents.items()):
        grid.add_row(what, str(count))
    _out.print(grid)
    _out.print(f"{record.people} people. Voxels were not looked at: faces stay.")
