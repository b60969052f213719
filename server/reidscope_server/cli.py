"""`reidscope-server`: invite sites, sign a study, collect its noisy tables, publish a report."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from reidscope_protocols.desk import Desk, Handler
from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import peek_type
from reidscope_protocols.errors import ConfigError, NotReadyError, UnsupportedError
from reidscope_protocols.report import DEFAULT_LICENCE
from reidscope_protocols.terminal import (
    progress,
    run_as_command,
    say,
    show_findings,
    show_json,
    show_table,
)
from reidscope_protocols.version_option import VERSION_HELP, spoken, version_teller
from reidscope_server import up as daemon
from reidscope_server.ca import make_keys
from reidscope_server.cli_keys import (
    SOURCE_HELP,
    PassphraseFd,
    PassphraseFile,
    ca_app,
    keys_app,
    new_secret,
)
from reidscope_server.cli_study import study_app
from reidscope_server.config import ServerConfig, ServerHome, write_new_home
from reidscope_server.coordinator import Coordinator
from reidscope_server.doctor import examine
from reidscope_server.key_files import described, remember
from reidscope_server.publish import publish
from reidscope_server.reaching import share_of
from reidscope_server.report.verify import verify_report
from reidscope_server.verbs import ask, carry_out

HOME_HELP = "The coordinator's home folder."
Home = Annotated[
    Path, typer.Option("--home", envvar="REIDSCOPE_SERVER_HOME", help=HOME_HELP, file_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_DEFAULT_HOME = Path("reidscope-server-home")
_POLL_SECONDS = 1.0
_ABSENCE_SECONDS = 20.0

app = typer.Typer(
    help="Coordinate a study: no image, embedding or exact count ever comes here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(study_app, name="study")
app.add_typer(keys_app, name="keys")
app.add_typer(ca_app, name="ca")
_TELL = version_teller("reidscope-server", spoken)
Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_TELL, help=VERSION_HELP)
]


@app.callback()
def root(*, _version: Version = False) -> None:
    """Take an option that needs no command."""


@app.command()
def init(
    home: Home = _DEFAULT_HOME,
    host: Annotated[str, typer.Option(help="Name or address that sites connect to.")] = "127.0.0.1",
    enrolment_port: Annotated[int, typer.Option(help="TLS, one call, open for a token.")] = 8441,
    control_port: Annotated[int, typer.Option(help="gRPC, mutual TLS.")] = 8442,
    fleet_port: Annotated[int, typer.Option(help="Flower's fleet API, mutual TLS.")] = 8443,
    *,
    key_source: Annotated[str, typer.Option(metavar="SOURCE", help=SOURCE_HELP)] = "",
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Make a coordinator's home: configuration, CA, TLS and signing keys."""
    new = ServerHome(home)
    secret = new_secret(new, key_source, passphrase_file, passphrase_fd)
    config = ServerConfig(
        host=host,
        enrolment_port=enrolment_port,
        control_port=control_port,
        fleet_port=fleet_port,
        key_source=key_source,
    )
    write_new_home(new, config)
    if secret is not None:
        remember(new, key_source, secret)
    make_keys(new, host)
    say(f"keys: {described(new)}")
    say(f"coordinator made for {host}; next: reidscope-server up")


@app.command()
def up(home: Home = _DEFAULT_HOME) -> None:
    """Run the coordinator: control and fleet ports, and enrolment while a token is outstanding."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def handler(coordinator: Coordinator) -> Handler:
        return lambda verb, arguments: carry_out(coordinator, verb, arguments)

    daemon.run(ServerHome.existing(home), handler=handler, say=say, stop=stop)
    say("coordinator stopped")


@app.command()
def token(
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site's public name.")],
    out: Annotated[Path, typer.Option("--out", help="Invitation file to write.")],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Invite a site: a one-time token and this coordinator's identity, in one file."""
    answer = ask(home, "token", {"site": site})
    write_durably(out, answer["invitation"].encode())
    say(f"invitation for {site}: one use, until {answer['not_after']}")
    say(f"CA SHA-256 to read to the site by another channel: {answer['ca_sha256']}")


@app.command()
def admit(
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="A site's request file.")],
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION", help="Its invitation.")],
    out: Annotated[Path, typer.Option("--out", help="Grant file to write.")],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Enrol a site by file: the same request and token as over the wire."""
    arguments = {"request": request.read_text(), "invitation": invitation.read_text()}
    write_durably(out, ask(home, "admit", arguments)["grant"].encode())
    say("grant written")


@app.command()
def revoke(
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site's public name.")],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Turn a site away at once, on open connections too."""
    ask(home, "revoke", {"site": site})
    say(f"{site} is revoked")


@app.command()
def sites(home: Home = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """List the sites and their keys' fingerprints."""
    rows = ask(home, "sites", {})["sites"]
    if as_json:
        show_json(rows)
        return
    columns = ("site", "status", "enrolled", "statement key")
    show_table("sites", columns, [[row[column] for column in columns] for row in rows])


@app.command()
def collect(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Its id or first digits.")],
    home: Home = _DEFAULT_HOME,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for all sites.")] = 86_400.0,
) -> None:
    """Start the rounds of a study and wait until every site has answered for good."""
    ask(home, "collect", {"study": study})
    deadline = time.monotonic() + timeout
    last_alive = time.monotonic()
    with progress("sites that answered") as tell:
        while True:
            standings = ask(home, "status", {"study": study})["sites"]
            done = sum(standing["finished"] for standing in standings)
            tell(done, len(standings))
            if done == len(standings):
                break
            if _daemon_runs(home):
                last_alive = time.monotonic()
            elif time.monotonic() - last_alive > _ABSENCE_SECONDS:
                raise NotReadyError(
                    "collect",
                    got=f"{done} of {len(standings)} sites, and no running coordinator",
                    expected="`reidscope-server up` in another terminal",
                    do="start it: the round goes on where it was",
                )
            if time.monotonic() > deadline:
                raise NotReadyError(
                    "collect",
                    got=f"{done} of {len(standings)} sites within {timeout:.0f} s",
                    expected="all of them",
                    do="collect again later, or report with those that answered",
                )
            time.sleep(_POLL_SECONDS)
    released = sum(standing["released"] for standing in standings)
    say(f"{released} of {len(standings)} sites released a table")


def _daemon_runs(home: Path) -> bool:
    with Desk(home).claim() as held:
        return not held


@app.command()
def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Its id or first digits.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", file_okay=False)],
    home: Home = _DEFAULT_HOME,
    notice: Annotated[
        list[str] | None, typer.Option("--notice", help="A line for the report's head.")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="What readers may do with the numbers: an SPDX identifier.")
    ] = DEFAULT_LICENCE,
    *,
    enrolled_share: Annotated[
        str | None,
        typer.Option(help="Probability that a person stands in an attacker's gallery, 0 to 1."),
    ] = None,
) -> None:
    """Pool the noisy tables, estimate, sign and write the report."""
    existing = ServerHome.existing(home)
    with Coordinator.opened(existing) as coordinator:
        written = publish(
            coordinator,
            study,
            out,
            notices=tuple(notice or ()),
            licence=licence,
            enrolled_share=None if enrolled_share is None else share_of(enrolled_share),
        )
    for line in written.headlines:
        say(line)
    say(f"report: {out / 'index.html'}")


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="REPORT", help="Report folder or file.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check every signature of a report and recompute every estimate from its releases."""
    verified = verify_report(path)
    if as_json:
        show_json(
            {
                "study": verified.report.study.id,
                "report_sha256": verified.sha256,
                "estimates": verified.estimates,
                "releases": verified.releases,
                "decisions": verified.decisions,
                "page": verified.page,
                "figures": verified.figures,
                "keys": [key.record.model_dump(mode="json") for key in verified.keys],
            }
        )
        return
    say(f"report        sha256 {verified.sha256}")
    say(
        f"signatures    report, study, {verified.releases} releases, {verified.decisions} decisions"
    )
    say(f"recomputed    {verified.estimates} estimates from the releases inside: all equal")
    say(f"page          {verified.page}")
    say(f"figures       {verified.figures}")
    for key in verified.keys:
        voice = f"{key.record.role} {key.record.site or ''}".strip()
        say(f"key           {key.record.public}  {voice}")
    say("a report cannot vouch for its own keys: compare these with their owners")


@app.command("export")
def export_study(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Its id or first digits.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", file_okay=False)],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Write a study, its constants and its receipts as files for sites without a network."""
    existing = ServerHome.existing(home)
    out.mkdir(parents=True, exist_ok=True)
    with Coordinator.opened(existing) as coordinator:
        for name, content in coordinator.portable(study).items():
            write_durably(out / name, content, mode=0o644)
            say(name)


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Signed statements.")],
    home: Home = _DEFAULT_HOME,
) -> None:
    """Take decisions and releases that came as files, exactly as if they had come by wire."""
    for path in files:
        envelope = path.read_bytes()
        if not peek_type(envelope):
            raise UnsupportedError(
                "import", got="no payload type", expected="a signed statement", do="check the file"
            )
        say(ask(home, "import", {"envelope": envelope.decode()})["was"])


@app.command()
def doctor(home: Home = _DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """Check this home, its keys and where they come from, its certificates, and the disk."""
    if not show_findings(examine(ServerHome.existing(home)), as_json=as_json):
        raise ConfigError("doctor", got="findings above", expected="none", do="mend them")


def main(run: Callable[[Callable[[], Any]], None] = run_as_command) -> None:
    """Console entry point."""
    run(app)
