"""`reidscope-site approve`, `decline`, `stop`, `resume` and `status`: people and the agent."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import InputError, NotReadyError
from reidscope_protocols.terminal import say, show_json, show_table
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.cli_options import DEFAULT_HOME, AsJson, HomeOption, Role, StudyArgument
from reidscope_site.config import Home
from reidscope_site.verbs import ask

_TICK_SECONDS = 0.5
_DPO = "data protection officer"

ToSign = Annotated[
    Path | None,
    typer.Option(help="Write what this person signs to a file, and decide nothing."),
]
Signature = Annotated[
    Path | None,
    typer.Option(help="The file's signature by `ssh-keygen -Y sign -n reidscope`."),
]


def approve_command(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    role: Role = _DPO,
    *,
    to_sign: ToSign = None,
    signature: Signature = None,
) -> None:
    """Say yes to this digest, package, policy and index."""
    arguments = {"study": study, "verdict": Verdict.APPROVED, "role": role}
    _decide(home, arguments, DecisionReason.REVIEWED, to_sign=to_sign, signature=signature)


def decline_command(
    study: StudyArgument,
    home: HomeOption = DEFAULT_HOME,
    role: Role = _DPO,
    reason: Annotated[DecisionReason, typer.Option(help="In one word.")] = DecisionReason.POLICY,
    *,
    to_sign: ToSign = None,
    signature: Signature = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take a yes back.")] = False,
) -> None:
    """Say no, or take a yes back before anybody was evaluated."""
    verdict = Verdict.WITHDRAWN if withdraw else Verdict.DECLINED
    arguments = {"study": study, "verdict": verdict, "role": role}
    _decide(home, arguments, reason, to_sign=to_sign, signature=signature)


def _decide(
    home: Path,
    arguments: dict[str, Any],
    reason: DecisionReason,
    *,
    to_sign: Path | None,
    signature: Path | None,
) -> None:
    if to_sign is not None:
        write_durably(to_sign, ask(home, "text", arguments)["text"].encode())
        say("written; sign it with: ssh-keygen -Y sign -n reidscope -f KEY FILE")
        return
    given = {**arguments, "reason": reason, "signature": _text_of(signature)}
    study, verdict = arguments["study"], arguments["verdict"]
    if ask(home, "decide", given)["stands"]:
        say(f"{study}: {verdict}")
    else:
        say(f"{study}: one of two approved; another person is needed")


def _text_of(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise InputError(
            "signature",
            got="a file that is no text",
            expected="what `ssh-keygen -Y sign` wrote, FILE.sig",
            do="sign the file of --to-sign again",
        ) from None


def stop_command(
    home: HomeOption = DEFAULT_HOME,
    *,
    hold: Annotated[
        bool,
        typer.Option("--hold", help="Refuse everything from now on, across restarts."),
    ] = False,
) -> None:
    """Stop the running agent; what was evaluated stays sealed for the next run."""
    if hold:
        ask(home, "hold", {})
        say("everything is refused from now on; end it with: reidscope-site resume --role ROLE")
        return
    existing = Home.existing(home)
    with Desk(existing.root).claim() as held:
        if held:
            say("no agent is running here")
            return
    write_durably(existing.root / "stop", b"")
    say("the agent was asked to stop")


def resume_command(home: HomeOption = DEFAULT_HOME, role: Role = _DPO) -> None:
    """End what `stop --hold` began."""
    ask(home, "resume", {"role": role})
    say("no longer stopped; a running agent goes on by itself")


def wipe_command(study: StudyArgument, home: HomeOption = DEFAULT_HOME, role: Role = _DPO) -> None:
    """Destroy a study's key: what was evaluated is unreadable, and never evaluated again."""
    ask(home, "wipe", {"study": study, "role": role})
    say(f"{study}: its key is destroyed; where nothing was released, this site is lost to it")


def status_command(
    home: HomeOption = DEFAULT_HOME,
    *,
    running: Annotated[
        bool,
        typer.Option("--running", help="Fail unless a running agent answers: for health checks."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how the agent stands: studies, epsilon, hours, disk, versions."""
    if running and not _is_running(home):
        raise NotReadyError(
            "agent", got="none that runs in this home", expected="one",
            do="start it: reidscope-site serve",
        )  # fmt: skip
    said = ask(home, "status", {})
    answer = {"running": _is_running(home), **said}
    if as_json:
        show_json(answer)
        return
    rows = [[name.replace("_", " "), value] for name, value in answer.items() if name != "studies"]
    counts = ", ".join(f"{count} {said}" for said, count in answer["studies"].items())
    show_table("status", ("what", "is"), [*rows, ["studies", counts or "none"]])


def _is_running(home: Path) -> bool:
    if home.is_socket():
        return True
    with Desk(Home.existing(home).root).claim() as held:
        return not held


def watch_for_stop(home: Home, event: threading.Event) -> None:
    """Set `event` once `stop` asks for it."""
    flag = home.root / "stop"
    flag.unlink(missing_ok=True)

    def watch() -> None:
        while not event.wait(_TICK_SECONDS):
            if flag.exists():
                flag.unlink(missing_ok=True)
                event.set()

    threading.Thread(target=watch, name="stop", daemon=True).start()
