"""The verbs that need the coordinator's stores, as the desk carries them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reidscope_protocols.desk import Answer, Desk, dispatch
from reidscope_protocols.enrolment import Invitation
from reidscope_protocols.errors import InputError
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.sites import EnrolledSite

_ASK_SECONDS = 120.0


def ask(home: Path, verb: str, arguments: Mapping[str, Any]) -> Answer:
    """Carry a verb out here, or have the running coordinator do it."""
    existing = ServerHome.existing(home)

    def here(asked: str, given: Mapping[str, Any]) -> Answer:
        with Coordinator.opened(existing) as coordinator:
            return carry_out(coordinator, asked, given)

    return Desk(existing.root).ask(verb, arguments, here, timeout_s=_ASK_SECONDS)


def carry_out(coordinator: Coordinator, verb: str, arguments: Mapping[str, Any]) -> Answer:
    """Carry one request out; see `desk.dispatch`."""
    return dispatch(_VERBS, coordinator, verb, arguments)


def _token(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    invitation = coordinator.sites.invite(arguments["site"])
    return {
        "invitation": invitation.dump().decode(),
        "not_after": f"{invitation.not_after:%Y-%m-%d %H:%M} UTC",
        "ca_sha256": invitation.ca_sha256,
    }


def _admit(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    token = Invitation.parse(arguments["invitation"].encode()).token
    return {"grant": coordinator.sites.enrol(arguments["request"].encode(), token).decode()}


def _revoke(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    coordinator.sites.revoke(arguments["site"])
    return {}


def _sites(coordinator: Coordinator, _: Mapping[str, Any]) -> Answer:
    return {"sites": [_site_row(site) for site in coordinator.sites.every()]}


def _open(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    files = {sha256: bytes.fromhex(content) for sha256, content in arguments["files"].items()}
    study = coordinator.studies.open(arguments["envelope"].encode(), files)
    return {"sha256": study.sha256, "id": study.statement.study_id}


def _collect(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    return {"sha256": coordinator.start_collecting(arguments["study"]).sha256}


def _studies(coordinator: Coordinator, _: Mapping[str, Any]) -> Answer:
    return {
        "studies": [
            {"id": study.statement.study_id, "sha256": study.sha256}
            for study in coordinator.studies.every()
        ]
    }


def _import(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    return {"was": coordinator.import_statement(arguments["envelope"].encode())}


def _site_row(site: EnrolledSite) -> dict[str, str]:
    return {
        "site": site.name,
        "status": "revoked" if site.revoked else "enrolled",
        "enrolled": f"{site.enrolled_at:%Y-%m-%d %H:%M}",
        "statement key": site.statement_key,
        "certificate": site.certificate_sha256,
    }


def _heads(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    heads = coordinator.studies.heads(arguments["sites"])
    return {"heads": [head.model_dump() for head in heads]}


def _roster(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    held = {s.name: s.key_record() for s in coordinator.sites.every() if not s.revoked}
    missing = [site for site in arguments["sites"] if site not in held]
    if missing:
        raise InputError(
            "roster",
            got="sites that are not enrolled: " + ", ".join(missing),
            expected="every site of a study with distributed noise, enrolled before it is written",
            do="invite them first",
        )
    return {"roster": [held[site].model_dump(mode="json") for site in arguments["sites"]]}


def _status(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    study = coordinator.studies.find(arguments["study"])
    return {
        "study": study.statement.study_id,
        "sha256": study.sha256,
        "closes": f"{study.statement.closes_at:%Y-%m-%d %H:%M} UTC",
        "secure_sum": coordinator.studies.sums.said(study) if study.statement.noise else "",
        "sites": [
            {
                "site": standing.site,
                "decision": standing.decision,
                "answer": standing.word,
                "released": standing.released,
                "finished": standing.finished,
                "waits_for": standing.waits_for,
            }
            for standing in coordinator.studies.standings(study)
        ],
    }


_VERBS: Mapping[str, Callable[[Coordinator, Mapping[str, Any]], Answer]] = {
    "token": _token,
    "admit": _admit,
    "revoke": _revoke,
    "sites": _sites,
    "heads": _heads,
    "roster": _roster,
    "open": _open,
    "collect": _collect,
    "status": _status,
    "studies": _studies,
    "import": _import,
}
