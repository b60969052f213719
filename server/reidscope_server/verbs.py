"""The verbs that need the coordinator's stores, as the desk carries them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reidscope_protocols.desk import Answer, Desk, dispatch
from reidscope_protocols.enrolment import EnrolmentRequest, Invitation, certificate_sha256
from reidscope_protocols.envelope import peek_payload, peek_type
from reidscope_protocols.errors import InputError
from reidscope_protocols.key_change import KeyChange
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.own_keys import own_keys, rotate_own
from reidscope_server.roots import Overlap, end_overlap, overlap, rotate_root
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
    return {"sites": [_site_row(coordinator, site) for site in coordinator.sites.every()]}


def _rotate_keys(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    role = arguments["role"]
    if role not in set(KeyRole):
        raise InputError("key", got="another word", expected="study or coordinator", do="name one")
    rotate_own(coordinator.home, KeyRole(role), at_once=arguments["at_once"])
    records = [record for record in own_keys(coordinator.home) if record.role == role]
    return {"public": records[-1].public}


def _keys(coordinator: Coordinator, _: Mapping[str, Any]) -> Answer:
    return {
        "keys": [
            {
                "role": record.role,
                "public": record.public,
                "from": f"{record.not_before:%Y-%m-%d}",
                "to": f"{record.not_after:%Y-%m-%d}",
                "ended": "" if record.ended_at is None else f"{record.ended_at:%Y-%m-%d %H:%M}",
            }
            for record in own_keys(coordinator.home)
        ]
    }


def _admit_keys(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    envelope = arguments["change"].encode()
    payload = peek_payload(envelope)
    if peek_type(envelope) == KeyChange.payload_type:
        site = KeyChange.parse(payload).site or ""
        grant = coordinator.sites.keys.change(envelope, site)
    else:
        site = EnrolmentRequest.parse(payload).site
        grant = coordinator.sites.keys.renew(envelope, site)
    return {"grant": grant.decode(), "site": site}


def _rotate_root(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    return _roots_of(rotate_root(coordinator.home, days=arguments["days"]))


def _end_root(coordinator: Coordinator, arguments: Mapping[str, Any]) -> Answer:
    both = overlap(coordinator.home)
    if both is None:
        raise InputError(
            "root", got="one root", expected="two that overlap", do="rotate it first: ca rotate"
        )
    behind = [
        site.name
        for site in coordinator.sites.every()
        if not site.revoked and site.root != both.new_sha256
    ]
    if behind and not arguments["force"]:
        raise InputError(
            "root",
            got=f"{len(behind)} sites whose certificate is of the old root: {', '.join(behind)}",
            expected="none",
            do="wait until they were connected, or end it with --force: they must enrol anew",
        )
    end_overlap(coordinator.home)
    return {"new": both.new_sha256}


def _ca(coordinator: Coordinator, _: Mapping[str, Any]) -> Answer:
    both = overlap(coordinator.home)
    own = certificate_sha256(coordinator.home.key("ca.crt").read_text())
    return {"old": own, "new": "", "ends": ""} if both is None else _roots_of(both)


def _roots_of(both: Overlap) -> Answer:
    return {
        "old": both.old_sha256,
        "new": both.new_sha256,
        "ends": f"{both.ends:%Y-%m-%d %H:%M} UTC",
    }


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


def _site_row(coordinator: Coordinator, site: EnrolledSite) -> dict[str, str]:
    return {
        "site": site.name,
        "status": "revoked" if site.revoked else "enrolled",
        "enrolled": f"{site.enrolled_at:%Y-%m-%d %H:%M}",
        "statement key": site.statement_key,
        "certificate": site.certificate_sha256,
        "former keys": ", ".join(record.public for record in site.former_keys),
        "root": site.root or "",
        "versions": coordinator.greetings.said(site.name),
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
    "rotate-keys": _rotate_keys,
    "keys": _keys,
    "admit-keys": _admit_keys,
    "rotate-root": _rotate_root,
    "end-root": _end_root,
    "ca": _ca,
    "sites": _sites,
    "heads": _heads,
    "roster": _roster,
    "open": _open,
    "collect": _collect,
    "status": _status,
    "studies": _studies,
    "import": _import,
}
