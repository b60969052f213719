"""`reidscope-site`: enrol, index, look at studies, decide, measure, and audit what left."""

from __future__ import annotations

import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.durable import write_durably
from reidscope_protocols.enrolment import Invitation
from reidscope_protocols.errors import ConfigError, WrongAudienceError
from reidscope_protocols.terminal import progress, run_as_command, say, show_json, show_table
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import enrol as enrolment
from reidscope_site.agent import Agent
from reidscope_site.audit import find_own_bytes
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.doctor import examine
from reidscope_site.journal import Event
from reidscope_site.verbs import ask, carry_out

app = typer.Typer(
    help="Measure at the hospital: images stay, one noisy table leaves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home", envvar="REIDSCOPE_SITE_HOME", help="The site's home folder.", file_okay=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="Its id, or the first digits of its sha256.")
]
Role = Annotated[str, typer.Option(help="The role that decides, as the policy file names it.")]
_DEFAULT_HOME = Path("reidscope-site-home")


class Population(StrEnum):
    """Who the scans are of."""

    PATIENTS = "patients"
    VOLUNTEERS = "volunteers"
    SYNTHETIC = "synthetic people"


@app.command()
def init(
    *,
    name: Annotated[str, typer.Option(help="The site's public name.")],
    dicom: Annotated[Path, typer.Option(help="Folder of DICOM files.", file_okay=False)],
    photos: Annotated[Path, typer.Option(help="Folder of photos.", file_okay=False)],
    links: Annotated[Path, typer.Option(help="CSV: patient_id,photo.", dir_okay=False)],
    declared_people: Annotated[
        int, typer.Option(help="Size of the cohort, declared before any data is read.")
    ],
    home: HomeOption = _DEFAULT_HOME,
    witness: Annotated[
        Path | None,
        typer.Option(help="File on another volume that remembers where the ledger stands."),
    ] = None,
    population: Annotated[
        list[Population] | None, typer.Option(help="What studies may be about; repeatable.")
    ] = None,
    epsilon_per_study: Annotated[str, typer.Option(help="Cap of one study.")] = "2",
    epsilon_lifetime: Annotated[str, typer.Option(help="Cap of all studies, ever.")] = "4",
    role: Annotated[
        list[str] | None, typer.Option(help="A role that may decide; repeatable.")
    ] = None,
) -> None:
    """Make a site's home: configuration, policy and keys."""
    populations = population or [Population.PATIENTS, Population.VOLUNTEERS]
    config = SiteConfig(
        name=name,
        dicom=str(dicom.resolve()),
        photos=str(photos.resolve()),
        links=str(links.resolve()),
        witness=str(witness.resolve()) if witness else "",
    )
    policy = Policy(
        declared_people=declared_people,
        epsilon_per_study=epsilon_per_study,
        epsilon_lifetime=epsilon_lifetime,
        populations=tuple(each.value for each in populations),
        roles=tuple(role or ["data protection officer"]),
    )
    new = Home(home)
    write_new_home(new, config, policy)
    enrolment.make_keys(new)
    agent = Agent(new)
    agent.journal.write(Event.INITIALISED)
    agent.close()
    say(f"site {name} made; read policy.toml, then: reidscope-site enroll INVITATION")


@app.command()
def enroll(
    invitation: Annotated[
        Path, typer.Argument(metavar="INVITATION", help="The coordinator's file.")
    ],
    home: HomeOption = _DEFAULT_HOME,
    ca_sha256: Annotated[
        str, typer.Option(help="The CA's SHA-256, as the coordinator read it to you.")
    ] = "",
    request: Annotated[
        Path | None, typer.Option(help="Write the request to a file instead of sending it.")
    ] = None,
    install: Annotated[
        Path | None, typer.Option(help="Install a grant that came as a file.")
    ] = None,
) -> None:
    """Become a site: over the wire with the invitation's token, or by files."""
    existing = Home.existing(home)
    invited = Invitation.parse(invitation.read_bytes())
    if ca_sha256 and ca_sha256.lower().replace(":", "") != invited.ca_sha256:
        raise WrongAudienceError(
            "invitation",
            got="a CA with another SHA-256 than was read to you",
            expected="the same",
            do="do not enrol: ask the coordinator",
        )
    if request is not None:
        write_durably(request, enrolment.request(existing, invited))
        say("request written; the coordinator answers it with `reidscope-server admit`")
        return
    grant = (
        install.read_bytes()
        if install is not None
        else enrolment.ask(invited, enrolment.request(existing, invited))
    )
    enrolment.install(existing, invited, grant)
    agent = Agent(existing)
    agent.journal.write(Event.ENROLLED)
    agent.close()
    say(f"enrolled; pinned CA SHA-256 {invited.ca_sha256}")


@app.command()
def index(home: HomeOption = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Settle who takes part: IDs, dates and geometry are read, never a pixel."""
    # Image libraries take seconds to load: only the commands that read data wait for them.
    from reidscope_site.indexing import index as read_headers  # noqa: PLC0415

    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if held:
            agent = Agent(existing)
            try:
                with progress("reading headers") as tell:
                    indexed = read_headers(agent, tell)
            finally:
                agent.close()
            answer: dict[str, Any] = {
                "people": len(indexed.resolution.people),
                "excluded": dict(indexed.resolution.excluded),
                "skipped_files": indexed.skipped,
            }
    if not held:
        answer = ask(home, "index", {})
    if as_json:
        show_json(answer)
        return
    excluded = ", ".join(f"{count} {reason}" for reason, count in answer["excluded"].items())
    skipped = answer["skipped_files"]
    say(
        f"indexed {answer['people']} people; excluded: {excluded or 'nobody'}"
        + (f"; {skipped} files are no DICOM images with a PatientID" if skipped else "")
    )


@app.command()
def studies(home: HomeOption = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """List the studies that reached this site."""
    rows = ask(home, "studies", {})["studies"]
    if as_json:
        show_json(rows)
        return
    columns = ("study", "epsilon", "decision", "released", "constants")
    show_table("studies", columns, [[row[column] for column in columns] for row in rows])


@app.command()
def show(study: StudyArgument, home: HomeOption = _DEFAULT_HOME) -> None:
    """Explain a study in plain words: what is computed, what leaves, what it costs."""
    for line in ask(home, "show", {"study": study})["lines"]:
        say(line)


@app.command()
def approve(
    study: StudyArgument,
    home: HomeOption = _DEFAULT_HOME,
    role: Role = "data protection officer",
) -> None:
    """Say yes to this digest, package, policy and index."""
    _decide(home, study, Verdict.APPROVED, role, DecisionReason.REVIEWED)


@app.command()
def decline(
    study: StudyArgument,
    home: HomeOption = _DEFAULT_HOME,
    role: Role = "data protection officer",
    reason: Annotated[DecisionReason, typer.Option(help="In one word.")] = DecisionReason.POLICY,
    *,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take a yes back.")] = False,
) -> None:
    """Say no, or take a yes back before anybody was evaluated."""
    verdict = Verdict.WITHDRAWN if withdraw else Verdict.DECLINED
    _decide(home, study, verdict, role, reason)


def _decide(home: Path, study: str, verdict: Verdict, role: str, reason: DecisionReason) -> None:
    arguments = {"study": study, "verdict": verdict, "role": role, "reason": reason}
    ask(home, "decide", arguments)
    say(f"{study}: {verdict}")


@app.command()
def run(
    study: Annotated[str, typer.Argument(metavar="[STUDY]", help="All approved if absent.")] = "",
    home: HomeOption = _DEFAULT_HOME,
) -> None:
    """Measure approved studies now, here; `serve` does the same by itself."""
    # Image libraries take seconds to load: only the commands that read data wait for them.
    from reidscope_site.measuring import measure  # noqa: PLC0415

    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if not held:
            say("the running agent measures approved studies by itself")
            return
        agent = Agent(existing)
        try:
            chosen = (agent.studies.find(study),) if study else agent.ready_to_run()
            for each in chosen:
                with progress(each.statement.study_id) as tell:
                    measure(agent, each, progress=tell)
                say(f"{each.statement.study_id}: released; `export` it or let `serve` hand it over")
            if not chosen:
                say("nothing is approved and ready")
        finally:
            agent.close()


@app.command()
def preview(study: StudyArgument, home: HomeOption = _DEFAULT_HOME) -> None:
    """Print the very bytes of a release, from synthetic counts; nothing is read or spent."""
    say(ask(home, "preview", {"study": study})["bytes"])


@app.command()
def serve(home: HomeOption = _DEFAULT_HOME) -> None:
    """Run the agent: outbound connections only, until stopped."""
    # Image libraries take seconds to load: only the commands that read data wait for them.
    from reidscope_site.serve import Loop  # noqa: PLC0415

    loop = Loop(Home.existing(home), say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop.set())
    _watch_for_stop(home, loop.stop)
    loop.serve(lambda agent: lambda verb, arguments: carry_out(agent, verb, arguments))
    say("agent stopped")


@app.command()
def stop(home: HomeOption = _DEFAULT_HOME) -> None:
    """Stop the running agent; what was evaluated stays sealed for the next run."""
    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if held:
            say("no agent is running here")
            return
    write_durably(existing.root / "stop", b"")
    say("the agent was asked to stop")


def _watch_for_stop(home: Path, event: threading.Event) -> None:
    flag = home / "stop"
    flag.unlink(missing_ok=True)

    def watch() -> None:
        while not event.wait(0.5):
            if flag.exists():
                flag.unlink(missing_ok=True)
                event.set()

    threading.Thread(target=watch, name="stop", daemon=True).start()


@app.command()
def ledger(
    home: HomeOption = _DEFAULT_HOME,
    *,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Go on without its witness: charge the worst case."),
    ] = False,
    role: Annotated[str, typer.Option(help="With --adopt: the role that decides.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show who spent what, on which digest, and what is left, in odds too."""
    if adopt:
        charged = ask(home, "adopt", {"role": role})["charged"]
        say(f"adopted; {charged} charged: what may have been spent unseen never comes back")
        return
    answer = ask(home, "ledger", {})
    if as_json:
        show_json(answer)
        return
    columns = ("sequence", "written at", "kind", "study", "epsilon", "head")
    rows = [[str(row[column])[:20] for column in columns] for row in answer["entries"]]
    show_table("ledger", columns, rows)
    say(
        f"spent {answer['spent']} of {answer['lifetime_cap']}"
        f" (odds at most {answer['odds']} times); the chain holds,"
        f" {'and its witness agrees' if answer['witnessed'] else 'without a witness'}"
    )


@app.command()
def journal(home: HomeOption = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Show what happened here, in constant words."""
    rows = ask(home, "journal", {})["entries"]
    if as_json:
        show_json(rows)
        return
    columns = ("number", "written at", "event", "study")
    show_table("journal", columns, [[str(row[column])[:20] for column in columns] for row in rows])


@app.command()
def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="Report folder or file.")],
    home: HomeOption = _DEFAULT_HOME,
) -> None:
    """Find this site's own signed bytes in a published report."""
    for line in find_own_bytes(Home.existing(home), report):
        say(line)


@app.command("export")
def export_files(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", file_okay=False)],
    home: HomeOption = _DEFAULT_HOME,
) -> None:
    """Write every decision and release of this site as files."""
    for name in ask(home, "export", {"out": str(out.resolve())})["files"]:
        say(name)


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="From the coordinator.")],
    home: HomeOption = _DEFAULT_HOME,
) -> None:
    """Take in studies, receipts and constants that came as files."""
    for path in files:
        answer = ask(home, "import", {"file": str(path.resolve())})
        say(f"{answer['kind']}: sha256 {answer['sha256']}")


@app.command()
def doctor(home: HomeOption = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Check this home, its keys, its ledger and the installation; reads no data."""
    findings = examine(Home.existing(home))
    if as_json:
        show_json([{"what": found.what, "fine": found.fine} for found in findings])
    else:
        for found in findings:
            say(f"{'ok  ' if found.fine else 'BAD '} {found.what}")
    if not all(found.fine for found in findings):
        raise ConfigError(
            "doctor", got="findings above", expected="none", do="mend them before serving"
        )


def main() -> None:
    """Console entry point."""
    run_as_command(app)
