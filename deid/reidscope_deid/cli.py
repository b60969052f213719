"""`reidscope-deid`: run, verify, explain, keygen, bids; page, contact-sheet, signoff."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid

from reidscope_deid.audit import AuditReport, audit_output
from reidscope_deid.bids.cli import app as bids_app
from reidscope_deid.explanation import explain, summary
from reidscope_deid.faces import (
    DETECTOR_ASKED,
    FACES,
    FOUND_AFTER,
    FOUND_BEFORE,
    SERIES_DEFACED,
    find_defacer,
)
from reidscope_deid.keys import generate_key, load_key
from reidscope_deid.options import PIXEL_DATA, VISUAL_FEATURES
from reidscope_deid.profile import Profile, load_profile
from reidscope_deid.profile_file import profile_text
from reidscope_deid.record import key_name
from reidscope_deid.review.cli import app as review_app
from reidscope_deid.review.cli import write_page
from reidscope_deid.review.page import record_page
from reidscope_deid.review.record_file import parse_record
from reidscope_deid.review.standing import with_standing
from reidscope_deid.table import load_table
from reidscope_deid.tables.cli import app as tables_app
from reidscope_deid.tables.of_output import OutputRisk, beyond, risk_of_series
from reidscope_deid.tree import deidentify_tree
from reidscope_deid.uids import UidMap
from reidscope_deid.vault import Vault
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import (
    ConfigError,
    InputError,
    NoDicomError,
    ReidscopeError,
    ResidualIdentifierError,
    UnparsableDicomError,
)
from reidscope_protocols.version_option import VERSION_HELP, version_teller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reidscope_deid.pixel_change import PixelStage
    from reidscope_deid.record import Record
    from reidscope_deid.sealing import Seal

app = typer.Typer(
    help="DICOM in, DICOM out, with what identifies a person removed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(tables_app, name="table")
app.add_typer(review_app)
app.add_typer(bids_app)
_out = Console()
_err = Console(stderr=True)

ProfileName = Annotated[
    str,
    typer.Option("--profile", help="A shipped profile's name, or the path of your own (.toml)."),
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="A further option of PS3.15; repeatable.")
]
AsFile = Annotated[
    bool, typer.Option("--file", help="Print the profile's own file, to copy and change.")
]

AnyTool = Annotated[
    bool, typer.Option("--any-tool", help="Somebody else's outputs: judge leaks, not our rules.")
]
Conformance = Annotated[
    bool, typer.Option("--conformance", help="No more dciodvfy errors than the originals have.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_TELL = version_teller("reidscope-deid", lambda: f"profiles of PS3.15 {load_table().edition}")
Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_TELL, help=VERSION_HELP)
]


@app.callback()
def root(*, _version: Version = False) -> None:
    """Take an option that needs no command."""


@app.command()
def run(  # noqa: PLR0917 - typer reads the options off the signature
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of DICOM files; only read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")],
    key: Annotated[Path, typer.Option("--key", help="Key file, from keygen.")],
    profile: ProfileName = "basic",
    option: Options = None,
    deface: Annotated[
        str | None, typer.Option("--deface", help="Remove faces from head scans: a defacer's name.")
    ] = None,
    pixel_policy: Annotated[
        Path | None,
        typer.Option("--pixel-policy", help="Your own policy of burned-in text (.toml)."),
    ] = None,
    zones: Annotated[
        Path | None, typer.Option("--zones", help="Your own zones of devices (.toml).")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    report: Annotated[Path | None, typer.Option("--report", help="JSON record to write.")] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Page of the record (HTML) to write.")
    ] = None,
    study: Annotated[
        str | None,
        typer.Option("--study", help="Use this study's own key: unlinkable to other studies."),
    ] = None,
    vault: Annotated[
        Path | None, typer.Option("--vault", help="Encrypted file of who is who, to add to.")
    ] = None,
    seal_to: Annotated[
        Path | None,
        typer.Option(
            "--seal-to", help="Certificate (PEM): encrypt what is taken out, for its holder."
        ),
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """De-identify every DICOM file below IN into OUT."""
    rules, site_key = _rules(profile, option, deface), load_key(key)
    defacer = None if deface is None else (deface, find_defacer(deface))
    stages, settings = _text_stage(rules, pixel_policy, zones)
    _check_folders({"--report": report, "--page": page})
    run_key = site_key if study is None else site_key.for_study(study)
    register = None if vault is None else Vault(vault, site_key)
    people: dict[str, str] = {}
    if register is not None:
        register.check()
    columns = (
        TextColumn("de-identifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as bar:
        task = bar.add_task("files", total=None)
        try:
            record = deidentify_tree(
                source,
                out,
                key=run_key,
                profile=rules,
                jobs=jobs,
                stages=stages,
                settings=settings,
                defacer=defacer,
                seal=None if seal_to is None else _seal(seal_to),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                met=people.__setitem__,
            )
        finally:
            # However the run ended: what stands in OUT can be named again.
            if register is not None and people:
                register.add(people)
    risk = _risk(out, rules) if record.written else None
    record = replace(record, key=key_name(run_key))
    if report is not None or page is not None or as_json:
        record = with_standing(record, sorted(out.rglob("*.dcm")), rules)
    document = record.document() | ({} if risk is None else {"risk": risk.document()})
    _write_record(_json(document).encode(), report, page)
    if as_json:
        _out.print_json(_json(document))
    else:
        _show_record(record)
    if record.failures or not record.written:
        raise UnparsableDicomError(
            "the input folder",
            got=f"{sum(record.left_out.values())} left out, {record.failures} of them unsound",
            expected="sound files of the classes offered",
            do="see the reasons above; what is in the output is whole and verified",
        )
    if risk is not None and rules.risk is not None and beyond(risk, rules.risk):
        sample = risk.figures.sample
        raise ResidualIdentifierError(
            "the people of the output",
            got=f"k {sample.k}, average risk {sample.average:.3f}",
            expected=f"k {rules.risk.k} or more, {rules.risk.average} at most, as the profile says",
            do="drop or coarsen more in a profile of your own, or add people; do not pass it on",
        )


@app.command()
def verify(  # noqa: PLR0917 - typer reads the options off the signature
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that run wrote.")],
    against: Annotated[
        Path | None, typer.Option("--against", help="Folder of the originals.")
    ] = None,
    profile: ProfileName = "basic",
    option: Options = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Key of that run: finds each file's very original."),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="As run had it.")] = None,
    any_tool: AnyTool = False,  # noqa: FBT002 - a flag of the command line
    conformance: Conformance = False,  # noqa: FBT002 - a flag of the command line
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Read every file below OUT again with another reader, and compare with the originals."""
    outputs = _below(out)
    if not outputs:
        raise NoDicomError(
            "the folder to verify", got="no file", expected="what run wrote", do="name another"
        )
    _check_asked(against, key, any_tool=any_tool, conformance=conformance)
    originals = None if against is None else _below(against)
    rules = load_profile(profile, tuple(option or ()))
    uids = None
    if key is not None:
        site_key = load_key(key)
        uids = UidMap(
            site_key if study is None else site_key.for_study(study), retain=rules.retains_uids
        )
    report = audit_output(
        outputs, originals, profile=rules, uids=uids, any_tool=any_tool, conformance=conformance
    )
    if as_json:
        _out.print_json(_json(report.document()))
    else:
        _show_audit(report)
    if not report.clean:
        raise ResidualIdentifierError(
            "the output",
            got=f"{sum(report.findings.values())} findings",
            expected="none",
            do="do not pass it on",
        )


@app.command(name="explain")
def explain_command(
    profile: ProfileName = "basic",
    option: Options = None,
    source: AsFile = False,  # noqa: FBT002 - a flag of the command line
    as_json: AsJson = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Print what a profile does with each attribute; what is not listed is dropped."""
    rules = load_profile(profile, tuple(option or ()))
    if source:
        _out.print(profile_text(profile), markup=False, highlight=False, soft_wrap=True, end="")
        return
    rows = explain(rules)
    if as_json:
        _out.print_json(_json([row.document() for row in rows]))
        return
    grid = Grid("tag", "attribute", "action", "why")
    for row in rows:
        grid.add_row(row.tag, row.name, row.action, row.why)
    _out.print(grid)
    _out.print(" ".join(summary(rules)), soft_wrap=True)


@app.command()
def keygen(file: Annotated[Path, typer.Argument(metavar="FILE", help="New file.")]) -> None:
    """Write a new site key; an existing file is never overwritten."""
    generate_key(file)
    _out.print(
        "A new key, readable by you alone. Back it up: without it nobody can be linked again."
    )


@app.command()
def reidentify(
    pseudonym: Annotated[str, typer.Argument(metavar="PSEUDONYM", help="P-... of an output.")],
    vault: Annotated[Path, typer.Option("--vault", help="Vault file that run wrote.")],
    key: Annotated[Path, typer.Option("--key", help="Key file of that run.")],
) -> None:
    """Print the patient ID that a pseudonym stands for: for the site alone."""
    identity = Vault(vault, load_key(key)).find(pseudonym)
    _out.print(identity, markup=False, highlight=False, soft_wrap=True)


@app.command(name="unseal")
def unseal_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output of run --seal-to.")],
    certificate: Annotated[Path, typer.Option("--certificate", help="The recipient's (PEM).")],
    private_key: Annotated[Path, typer.Option("--private-key", help="The recipient's (PEM).")],
) -> None:
    """Print what was taken out of a sealed file: for the certificate's holder alone."""
    from reidscope_deid.sealing import unseal  # noqa: PLC0415 - as in _seal

    text = str(unseal(file, certificate, private_key))
    _out.print(text, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; an error is one line on stderr and a numbered exit code."""
    try:
        app(standalone_mode=True)
    except ReidscopeError as error:
        _err.print(f"reidscope-deid: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # The text of an OSError holds a path; its number does not.
        reason = os.strerror(error.errno) if error.errno else "input or output failed"
        problem = InputError(
            "the file system", got=reason, expected="room and rights to write", do="look at OUT"
        )
        _err.print(f"reidscope-deid: {problem}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(problem.exit_code)


def _risk(out: Path, rules: Profile) -> OutputRisk | None:
    """Measure the people of a folder, where the profile sets limits."""
    if rules.risk is None:
        return None
    moved = rules.calendar.moves and not rules.calendar.year_only
    return risk_of_series(out, dates_moved=moved)


def _text_stage(
    rules: Profile, policy: Path | None, zones: Path | None
) -> tuple[tuple[PixelStage, ...], str]:
    """Make the stage that looks for burned-in text, if the option asks for one, and its settings.

    Raises
    ------
    ConfigError
        A policy or zones without the option, or a file that cannot be used.
    UnsupportedError
        The detector is not installed.
    """
    if PIXEL_DATA not in rules.options:
        if policy is not None or zones is not None:
            raise ConfigError(
                "--pixel-policy, --zones",
                got="a file, and nobody who reads it",
                expected="the option that looks at pixels",
                do="add --option clean-pixel-data",
            )
        return (), ""
    # An extra, and only this option needs it.
    from reidscope_deid.burned_in import clean_pixels, load_policy  # noqa: PLC0415 - said above
    from reidscope_deid.burned_in.detector import text_detector  # noqa: PLC0415 - said above

    text_detector()  # missing is said before anything is written
    loaded = load_policy(policy, zones)
    return (partial(clean_pixels, policy=loaded),), loaded.digest


def _check_folders(files: Mapping[str, Path | None]) -> None:
    """Check that what a run will end with can be written, before it starts.

    Raises
    ------
    ConfigError
        A file's folder does not exist.
    """
    for name, file in files.items():
        if file is not None and not file.parent.is_dir():
            raise ConfigError(name, got="no such folder", expected="a folder", do="make it first")


def _write_record(content: bytes, report: Path | None, page: Path | None) -> None:
    if report is not None:
        write_durably(report, content)
    if page is not None:
        write_page(page, record_page(parse_record(content)))


def _check_asked(
    against: Path | None, key: Path | None, *, any_tool: bool, conformance: bool
) -> None:
    """Check that what verify is asked for goes together.

    Raises
    ------
    ConfigError
        Nothing to compare with, or our key for somebody else's outputs.
    """
    if against is None and (any_tool or conformance):
        raise ConfigError(
            "verify",
            got="no originals to compare with",
            expected="a folder of originals",
            do="add --against IN",
        )
    if any_tool and key is not None:
        raise ConfigError(
            "verify",
            got="a key, for outputs that were not made under it",
            expected="--key or --any-tool",
            do="leave one of them out",
        )


def _seal(certificate: Path) -> Seal:
    # Certificates take memory that a run without one can do without.
    from reidscope_deid.sealing import load_seal  # noqa: PLC0415 - said above

    return load_seal(certificate)


def _rules(profile: str, option: list[str] | None, deface: str | None) -> Profile:
    """Resolve the rules; a defacer and the option that it does belong together.

    Raises
    ------
    ConfigError
        The option without a defacer.
    """
    rules = load_profile(profile, tuple(option or ()))
    if deface is None and VISUAL_FEATURES in rules.options:
        raise ConfigError(
            "the options",
            got=f"{VISUAL_FEATURES} and no defacer",
            expected="a defacer by name",
            do="add --deface NAME",
        )
    if deface is not None and VISUAL_FEATURES not in rules.options:
        rules = load_profile(profile, (*(option or ()), VISUAL_FEATURES))
    return rules


def _below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError("the folder", got="no folder", expected="a folder", do="name another")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _json(document: object) -> str:
    return json.dumps(document, indent=1)


def _show_record(record: Record) -> None:
    grid = Grid("files", "count", title=f"{record.profile}, PS3.15 {record.edition}")
    grid.add_row("written", str(record.written))
    grid.add_row("duplicates", str(record.duplicates))
    for reason, count in record.left_out.items():
        grid.add_row(f"left out: {reason.value}", str(count))
    _out.print(grid)
    _out.print(f"{record.people} people; codes {', '.join(record.codes)}. {_pixels(record)}")
    if FACES in record.actions:
        _out.print(_faces(record))


def _pixels(record: Record) -> str:
    done = record.actions.get("pixels", {})
    if not done:
        return "Pixels were not looked at: no code 113101, no code 113102."
    looked = "; ".join(f"{code} in {count} files" for code, count in done.items())
    return f"Of pixels: {looked}. {len(record.review)} to review."


def _faces(record: Record) -> str:
    counted = record.actions[FACES]
    series = f"{counted.get(SERIES_DEFACED, 0)} series defaced, their gates passed."
    asked = counted.get(DETECTOR_ASKED, 0)
    if not asked:
        return series
    before, after = counted.get(FOUND_BEFORE, 0), counted.get(FOUND_AFTER, 0)
    return (
        f"{series} A face detector fires on {before} of {asked} before and on {after} after: it "
        "fires on most cut heads, and decides nothing."
    )


def _show_audit(report: AuditReport) -> None:
    if report.errors is not None:
        before, after = report.errors
        _out.print(f"dciodvfy errors: {before} in the originals, {after} in the outputs.")
    if report.clean:
        _out.print(f"{report.files} files, {report.compared} compared: nothing was found.")
        return
    grid = Grid(
        "tag", "finding", "count", title=f"{report.files} files, {report.compared} compared"
    )
    for (tag, finding), count in report.findings.items():
        grid.add_row(tag, finding.value, str(count))
    _out.print(grid)
