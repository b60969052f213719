"""The verbs that need the site's stores, as the desk carries them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reidscope_protocols.desk import Answer, Desk, dispatch
from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.errors import PolicyRefusalError
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.account import account
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.journal import Event
from reidscope_site.plainwords import explain
from reidscope_site.portable import export_statements, import_file
from reidscope_site.preview import preview
from reidscope_site.roles import Caller, check_role
from reidscope_site.socket_roles import ask_agent
from reidscope_site.standing import said_of, standing, who_decides

_ASK_SECONDS = 600.0
_INDEX_SECONDS = 12 * 3600.0
"""A first index reads every header, and fetches what the archive has."""


def ask(home: Path, verb: str, arguments: Mapping[str, Any]) -> Answer:
    """Carry a verb out here, or have the running agent do it.

    Parameters
    ----------
    home : Path
        The home folder, or the socket of a running agent: then the kernel tells it who asks.
    """
    if home.is_socket() or (home.suffix == ".sock" and not home.exists()):
        return ask_agent(home, verb, arguments, timeout_s=_ASK_SECONDS)
    existing = Home.existing(home)

    def here(asked: str, given: Mapping[str, Any]) -> Answer:
        agent = Agent(existing)
        try:
            return carry_out(agent, asked, given)
        finally:
            agent.close()

    return Desk(existing.root).ask(
        verb, arguments, here, timeout_s=_INDEX_SECONDS if verb == "index" else _ASK_SECONDS
    )


def carry_out(
    agent: Agent, verb: str, arguments: Mapping[str, Any], caller: Caller | None = None
) -> Answer:
    """Carry one request out; see `desk.dispatch`.

    Parameters
    ----------
    caller : Caller, optional
        The account that asks; this process's own if absent, as whoever reads the home is.

    Raises
    ------
    PolicyRefusalError
        The account holds no role, or the verb reads and writes with the agent's own rights.
    """
    caller = caller or Caller.of_this_process()
    if not caller.is_agent and (verb not in _FOR_PEOPLE or not caller.roles(agent.policy)):
        raise PolicyRefusalError(
            "request",
            got="an account without a role, or a request that is the agent's own",
            expected="an account that the policy names, and " + ", ".join(sorted(_FOR_PEOPLE)),
            do="ask whoever runs the agent",
        )
    verbs: dict[str, Callable[..., Answer]] = {
        **_VERBS,
        **{name: partial(carry, caller=caller) for name, carry in _BY_CALLER.items()},
    }
    return dispatch(verbs, agent, verb, arguments)


def _index(agent: Agent, _: Mapping[str, Any]) -> Answer:
    # Image libraries take seconds to load: only the verbs that read data wait for them.
    from reidscope_site.indexing import index  # noqa: PLC0415  # loaded where it is asked for

    return index(agent).answer()


def told(indexed: Answer) -> Iterator[str]:
    """Tell what `index` found, in lines for the site's own terminal."""
    yield (
        f"indexed {indexed['people']} people: {indexed['with_photo']} with a photo,"
        f" {indexed['with_second_scan']} with scans of two dates or more"
    )
    yield (
        f"told by their headers: the sex of {indexed['with_sex']}, the age of"
        f" {indexed['with_age']}; by the link file: the group of {indexed['with_group']}"
    )
    if indexed["unread_photos"]:
        yield (
            f"{indexed['unread_photos']} photos are in no format that is read here (as HEIC, PDF,"
            " an empty file): their people will be `not acquired`; convert them to JPEG or PNG,"
            " then index again"
        )
    if indexed["with_pet"]:
        yield (
            f"PET of {indexed['with_pet']} people counts where a study asks for PET, and nowhere"
            f" else; {indexed['without_anything_else']} of them would count nowhere without it"
        )
    for what in ("excluded", "series"):
        named = "people left out" if what == "excluded" else "series"
        counts = sorted(indexed[what].items(), key=lambda each: (-each[1], each[0]))
        yield f"{named}: {', '.join(f'{count} {reason}' for reason, count in counts) or 'none'}"
    if indexed["skipped_files"]:
        yield f"{indexed['skipped_files']} files are no scans of anybody"
    if indexed["unopened_files"]:
        yield (
            f"{indexed['unopened_files']} files could not be opened: give this account the right to"
            " read them, then index again"
        )
    yield f"{indexed['read_files']} files were new or changed and read"


def _studies(agent: Agent, _: Mapping[str, Any]) -> Answer:
    return {
        "studies": [
            {
                "study": study.statement.study_id,
                "sha256": study.sha256,
                "epsilon": str(study.statement.loss),
                "decision": said_of(agent, study),
                "released": agent.has_released(study.sha256),
                "constants": "complete"
                if not agent.constants.missing(study.statement)
                else "missing",
            }
            for study in agent.studies.every()
        ]
    }


def _show(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    study = agent.studies.find(arguments["study"])
    policy = agent.policy
    explained = explain(study, policy, agent.ledger.spent())
    return {"lines": [*explained, "", *who_decides(policy)]}


def _decide(agent: Agent, arguments: Mapping[str, Any], *, caller: Caller) -> Answer:
    stands = agent.decide(
        arguments["study"],
        Verdict(arguments["verdict"]),
        role=arguments["role"],
        reason=DecisionReason(arguments["reason"]),
        caller=caller,
        signature=arguments.get("signature", ""),
    )
    return {"stands": stands}


def _text(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    verdict = Verdict(arguments["verdict"])
    return {"text": agent.text_to_sign(arguments["study"], verdict, arguments["role"])}


def _hold(agent: Agent, _: Mapping[str, Any]) -> Answer:
    write_durably(agent.home.hold_file, b"")
    agent.journal.write(Event.HELD)
    return {}


def _resume(agent: Agent, arguments: Mapping[str, Any], *, caller: Caller) -> Answer:
    check_role(agent.policy, arguments["role"], caller)
    agent.home.hold_file.unlink(missing_ok=True)
    sync_folder(agent.home.root)
    agent.journal.write(Event.RESUMED)
    return {}


def _preview(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    study = agent.studies.find(arguments["study"])
    return {"bytes": preview(study, agent.policy, agent.config.name).decode()}


def _adopt(agent: Agent, arguments: Mapping[str, Any], *, caller: Caller) -> Answer:
    return {"charged": str(agent.adopt(arguments["role"], caller))}


def _wipe(agent: Agent, arguments: Mapping[str, Any], *, caller: Caller) -> Answer:
    return {"sha256": agent.wipe(arguments["study"], arguments["role"], caller)}


def _journal(agent: Agent, _: Mapping[str, Any]) -> Answer:
    return {
        "entries": [
            {
                "number": entry.number,
                "written at": entry.written_at,
                "event": entry.event,
                "study": entry.study_sha256 or "",
            }
            for entry in agent.journal.entries()
        ]
    }


def _export(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    written = export_statements(agent, Path(arguments["out"]))
    return {"files": [path.name for path in written]}


def _import(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    imported = import_file(agent, Path(arguments["file"]))
    return {"kind": imported.kind, "sha256": imported.sha256}


_VERBS: Mapping[str, Callable[[Agent, Mapping[str, Any]], Answer]] = {
    "index": _index,
    "studies": _studies,
    "show": _show,
    "text": _text,
    "status": lambda agent, _: standing(agent),
    "hold": _hold,
    "preview": _preview,
    "ledger": lambda agent, _: account(agent),
    "journal": _journal,
    "export": _export,
    "import": _import,
}
_BY_CALLER: Mapping[str, Callable[..., Answer]] = {
    "decide": _decide,
    "resume": _resume,
    "adopt": _adopt,
    "wipe": _wipe,
}
_FOR_PEOPLE = frozenset(
    {"studies", "show", "preview", "ledger", "journal", "status", "text"}
    | {"decide", "adopt", "hold", "resume", "wipe"}
)
"""What an account with a role may ask of the running agent: nothing that names a file."""
