"""The verbs that need the site's stores, as the desk carries them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reidscope_protocols.desk import Answer, Desk, dispatch
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.plainwords import explain
from reidscope_site.portable import export_statements, import_file
from reidscope_site.preview import preview

_ASK_SECONDS = 600.0


def ask(home: Path, verb: str, arguments: Mapping[str, Any]) -> Answer:
    """Carry a verb out here, or have the running agent do it."""
    existing = Home.existing(home)

    def here(asked: str, given: Mapping[str, Any]) -> Answer:
        agent = Agent(existing)
        try:
            return carry_out(agent, asked, given)
        finally:
            agent.close()

    return Desk(existing.root).ask(verb, arguments, here, timeout_s=_ASK_SECONDS)


def carry_out(agent: Agent, verb: str, arguments: Mapping[str, Any]) -> Answer:
    """Carry one request out; see `desk.dispatch`."""
    return dispatch(_VERBS, agent, verb, arguments)


def _index(agent: Agent, _: Mapping[str, Any]) -> Answer:
    # Image libraries take seconds to load: only the verbs that read data wait for them.
    from reidscope_site.indexing import index  # noqa: PLC0415

    indexed = index(agent)
    return {
        "people": len(indexed.resolution.people),
        "excluded": dict(indexed.resolution.excluded),
        "skipped_files": indexed.skipped,
    }


def _studies(agent: Agent, _: Mapping[str, Any]) -> Answer:
    return {
        "studies": [
            {
                "study": study.statement.study_id,
                "sha256": study.sha256,
                "epsilon": str(study.statement.loss),
                "decision": str(agent.consent.verdict(study.sha256) or "none yet"),
                "released": agent.ledger.stored(study.sha256) is not None,
                "constants": "complete"
                if not agent.constants.missing(study.statement)
                else "missing",
            }
            for study in agent.studies.every()
        ]
    }


def _show(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    study = agent.studies.find(arguments["study"])
    return {"lines": list(explain(study, agent.policy, agent.ledger.spent()))}


def _decide(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    agent.decide(
        arguments["study"],
        Verdict(arguments["verdict"]),
        role=arguments["role"],
        reason=DecisionReason(arguments["reason"]),
    )
    return {}


def _preview(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    study = agent.studies.find(arguments["study"])
    return {"bytes": preview(study, agent.policy, agent.config.name).decode()}


def _ledger(agent: Agent, _: Mapping[str, Any]) -> Answer:
    agent.ledger.check()
    spent = agent.ledger.spent()
    return {
        "spent": str(spent),
        "lifetime_cap": agent.policy.epsilon_lifetime,
        "odds": round(spent.odds, 2),
        "head": agent.ledger.head().model_dump(),
        "witnessed": agent.ledger.is_witnessed,
        "entries": [
            {
                "sequence": entry.sequence,
                "written at": entry.written_at,
                "kind": entry.kind,
                "study": entry.study_sha256,
                "table": entry.table,
                "epsilon": str(entry.loss),
                "head": entry.head,
            }
            for entry in agent.ledger.entries()
        ],
    }


def _adopt(agent: Agent, arguments: Mapping[str, Any]) -> Answer:
    return {"charged": str(agent.adopt(arguments["role"]))}


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
    "decide": _decide,
    "preview": _preview,
    "ledger": _ledger,
    "adopt": _adopt,
    "journal": _journal,
    "export": _export,
    "import": _import,
}
