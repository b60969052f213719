"""`reidscope-site`: enrol, index, look at studies, decide, measure, and audit what left."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.durable import write_durably
from reidscope_protocols.enrolment import Invitation
from reidscope_protocols.errors import ConfigError, WrongAudienceError
from reidscope_protocols.privacy import PRACTICALLY_CERTAIN, odds_said
from reidscope_protocols.terminal import (
    progress,
    run_as_command,
    say,
    show_findings,
    show_json,
    show_table,
)
from reidscope_protocols.version_option import VERSION_HELP, spoken, version_teller
from reidscope_site import enrol as enrolment
from reidscope_site.agent import Agent
from reidscope_site.audit import find_own_bytes
from reidscope_site.cli_consent import (
    approve_command,
    decline_command,
    resume_command,
    status_command,
    stop_command,
    watch_for_stop,
    wipe_command,
)
from reidscope_site.cli_keys import keys_app
from reidscope_site.cli_options import DEFAULT_HOME, AsJson, HomeOption, StudyArgument
from reidscope_site.cli_reference import reference_app, rehearse_command
from reidscope_site.cli_review import review_command
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.doctor import examine
from reidscope_site.journal import Event
from reidscope_site.progress import people_left, stoppable
from reidscope_site.sent import Sent
from reidscope_site.verbs import ask, carry_out, told

app = typer.Typer(
    help="Measure at the hospital: images stay, one noisy table leaves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(reference_app, name="reference")
app.command("rehearse")(rehearse_command)
app.command("review")(review_command)
app.command("approve")(approve_command)
app.command("decline")(decline_command)
app.command("stop")(stop_command)
app.command("resume")(resume_command)
app.command("status")(status_command)
app.command("wipe")(wipe_command)
app.add_typer(keys_app, name="keys")
_TELL = version_teller("reidscope-site", spoken)
Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_TELL, help=VERSION_HELP)
]


@app.callback()
def root(*, _version: Version = False) -> None:
    """Take an option that needs no command."""


class Population(StrEnum):
    """Who the scans are of."""

    PATIENTS = "patients"
    VOLUNTEERS = "volunteers"
    SYNTHETIC = "synthetic people"


@app.command()
def init(
    *,
    name: Annotated[str, typer.Option(help="The site's public name.")],
    declared_people: Annotated[
        int, typer.Option(help="Size of the cohort, declared before any data is read.")
    ],
    population_reached: Annotated[
        int, typer.Option(min=0, help="People whom the site serves, declared; 0 says nothing.")
    ] = 0,
    region: Annotated[str, typer.Option(help="Region that the site lies in.")] = "",
    dicom: Annotated[
        Path | None, typer.Option(help="Folder of DICOM files.", file_okay=False)
    ] = None,
    bids: Annotated[Path | None, typer.Option(help="BIDS dataset.", file_okay=False)] = None,
    dicomweb: Annotated[
        str, typer.Option(help="Address of the archive's DICOMweb service (https).")
    ] = "",
    dicomweb_token: Annotated[
        Path | None, typer.Option(help="File with the archive's bearer token.", dir_okay=False)
    ] = None,
    dicomweb_query: Annotated[
        list[str] | None,
        typer.Option(help="Which series, as StudyDate=20200101-20241231; repeatable."),
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of photos.", file_okay=False)] = None,
    links: Annotated[
        Path | None,
        typer.Option(help="CSV: patient_id,photo; a column group if you like.", dir_okay=False),
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="Opt-outs: one patient ID a line.", dir_okay=False)
    ] = None,
    socket: Annotated[
        Path | None,
        typer.Option(help="Where the agent listens for people with roles.", dir_okay=False),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
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
        dicom=_absolute(dicom),
        bids=_absolute(bids),
        dicomweb=dicomweb,
        dicomweb_token=_absolute(dicomweb_token),
        dicomweb_query=tuple(dicomweb_query or ()),
        photos=_absolute(photos),
        links=_absolute(links),
        witness=_absolute(witness),
        exclude=_absolute(exclude),
        socket=_absolute(socket),
    )
    policy = Policy(
        declared_people=declared_people,
        population_reached=population_reached,
        region=region,
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


def _absolute(path: Path | None) -> str:
    return "" if path is None else str(path.resolve())


@app.command()
def enroll(
    invitation: Annotated[
        Path, typer.Argument(metavar="INVITATION", help="The coordinator's file.")
    ],
    home: HomeOption = DEFAULT_HOME,
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
    if install is not None:
        grant = install.read_bytes()
    else:
        asked = enrolment.request(existing, invited)
        Sent(existing.sent, days=existing.config().sent_days).keep("enrolment", asked)
        grant = enrolment.ask(invited, asked)
    enrolment.install(existing, invited, grant)
    agent = Agent(existing)
    agent.journal.write(Event.ENROLLED)
    agent.close()
    say(f"enrolled; pinned CA SHA-256 {invited.ca_sha256}")


@app.command()
def index(home: HomeOption = DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Settle who takes part: IDs, dates and geometry are read, never a pixel."""
    # Image libraries take seconds to load: only the commands that read data wait for them.
    from reidscope_site.indexing import index as read_headers  # noqa: PLC0415  # loaded where it is asked for

    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if held:
            agent = Agent(existing)
            try:
                with progress("reading headers") as tell:
                    indexed = read_headers(agent, tell)
            finally:
                agent.close()
            answer: dict[str, Any] = dict(indexed.answer())
    if not held:
        answer = ask(home, "index", {})
    if as_json:
        show_json(answer)
        return
    for line in told(answer):
        say(line)


@app.command()
def studies(home: HomeOption = DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """List the studies that reached this site."""
    rows = ask(home, "studies", {})["studies"]
    if as_json:
        show_json(rows)
        return
    columns = ("study", "epsilon", "decision", "released", "constants")
    show_table("studies", columns, [[row[column] for column in columns] for row in rows])


@app.command()
def show(study: StudyArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Explain a study in plain words: what is computed, what leaves, what it costs."""
    for line in ask(home, "show", {"study": study})["lines"]:
        say(line)


@app.command()
def run(
    study: Annotated[str, typer.Argument(metavar="[STUDY]", help="All approved if absent.")] = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Measure approved studies now, here; `serve` does the same by itself."""
    # Image libraries take seconds to load: only the commands that read data wait for them.
    from reidscope_site.measuring import measure  # noqa: PLC0415  # loaded where it is asked for

    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if not held:
            say("the running agent measures approved studies by itself")
            return
        agent = Agent(existing)
        try:
            chosen = (agent.studies.find(study),) if study else agent.ready_to_run()
            for each in chosen:
                with stoppable(), people_left(each.statement.study_id) as tell:
                    done = measure(agent, each, progress=tell)
                name = each.statement.study_id
                if done is None:
                    say(f"{name}: the policy's hours ended; what was evaluated stays sealed")
                else:
                    say(f"{name}: released; `export` it or let `serve` hand it over")
            if not chosen:
                say("nothing is approved and ready")
        finally:
            agent.close()


@app.command()
def preview(study: StudyArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Print the very bytes of a release, from synthetic counts; nothing is read or spent."""
    say(ask(home, "preview", {"study": study})["bytes"])


@app.command()
def serve(
    home: HomeOption = DEFAULT_HOME,
    *,
    json_log: Annotated[
        bool, typer.Option("--json-log", help="Print the log's JSON lines and nothing else.")
    ] = False,
) -> None:
    """Run the agent: outbound connections only, until stopped."""
    # Image libraries take seconds to load: only the commands that read data wait for them.
    from reidscope_site.serve import Loop  # noqa: PLC0415  # loaded where it is asked for

    loop = Loop(Home.existing(home), (lambda _: None) if json_log else say, echo=json_log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop.set())
    watch_for_stop(loop.home, loop.stop)
    loop.serve(lambda agent: lambda verb, arguments: carry_out(agent, verb, arguments))
    loop.say("agent stopped")


def _at_most(odds: float | None) -> str:
    return str(odds) if odds is not None and odds < PRACTICALLY_CERTAIN else odds_said(odds)


def _grew(odds: float | None) -> str:
    if odds is not None and odds < PRACTICALLY_CERTAIN:
        return f"nobody's odds grew by more than {odds} times"
    return f"somebody's odds may have grown from even to {odds_said(odds)}"


@app.command()
def ledger(
    home: HomeOption = DEFAULT_HOME,
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
    columns = ("day", "kind", "name", "study", "approved by", "epsilon", "odds", "left", "release")
    many = f"> {PRACTICALLY_CERTAIN:,}"
    shown = [
        row
        if row["odds"] is not None and row["odds"] < PRACTICALLY_CERTAIN
        else {**row, "odds": many}
        for row in answer["entries"]
    ]
    rows = [
        [row["written at"][:10], row["kind"], row["name"], row["study"][:8]]
        + [row[column] for column in columns[4:]]
        for row in shown
    ]
    show_table("ledger", columns, rows)
    say(
        f"spent {answer['spent']} of {answer['lifetime_cap']}, left {answer['left']}, at most"
        f" {answer['study_cap']} a study; {_grew(answer['odds'])},"
        f" at the cap {_at_most(answer['odds_at_the_cap'])};"
        f" {answer['spent_if_others_collude']} if all other sites and the coordinator collude; the"
        " chain holds,"
        f" {'and its witness agrees' if answer['witnessed'] else 'without a witness'}"
    )


@app.command()
def journal(home: HomeOption = DEFAULT_HOME, *, as_json: AsJson = False) -> None:
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
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Find this site's own signed bytes in a published report."""
    for line in find_own_bytes(Home.existing(home), report):
        say(line)


@app.command("export")
def export_files(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", file_okay=False)],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Write every decision and release of this site as files."""
    for name in ask(home, "export", {"out": str(out.resolve())})["files"]:
        say(name)


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="From the coordinator.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Take in studies, receipts and constants that came as files."""
    # Statements first, whatever order a shell lists them in: a constant is known by its study.
    for path in sorted(files, key=lambda path: path.suffix != ".json"):
        answer = ask(home, "import", {"file": str(path.resolve())})
        say(f"{answer['kind']}: sha256 {answer['sha256']}")


@app.command()
def doctor(
    home: HomeOption = DEFAULT_HOME,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave the coordinator alone: a site without a wire.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this home, its keys, its ledger, the installation and the wire; reads no data."""
    if not show_findings(examine(Home.existing(home), offline=offline), as_json=as_json):
        raise ConfigError(
            "doctor", got="findings above", expected="none", do="mend them before serving"
        )


def main() -> None:
    """Console entry point."""
    run_as_command(app)
