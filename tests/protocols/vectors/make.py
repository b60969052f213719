"""Writes the vectors beside it; the keys are fixed numbers and protect nothing.

python tests/protocols/vectors/make.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from good import (
    GOOD,
    constants,
    decision,
    distributed,
    named,
    release,
    study,
    tables,
    with_two_networks,
    without,
)
from key_changes import vectors

from reidscope_protocols.envelope import sign_payload
from reidscope_protocols.keys import StatementKey

HERE = Path(__file__).parent
NOW = "2026-02-01T00:00:00Z"

KEYS = {
    name: StatementKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))
    for number, name in enumerate(("study", "coordinator", "north", "south", "old"), start=1)
}
RING = [
    {
        "role": role,
        "site": site,
        "public": KEYS[name].public,
        "not_before": "2025-12-01T00:00:00Z",
        "not_after": "2025-12-31T00:00:00Z" if name == "old" else "2027-12-01T00:00:00Z",
    }
    for name, role, site in (
        ("study", "study", None),
        ("coordinator", "coordinator", None),
        ("north", "site", "north"),
        ("south", "site", "south"),
        ("old", "study", None),
    )
]
TYPES = {name: f"application/vnd.reidscope.{name}+json" for name in GOOD}


def signed(statement: Any, kind: str, key: str) -> str:
    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    return sign_payload(payload, payload_type=TYPES[kind], key=KEYS[key]).decode()


def put(name: str, kind: str, envelope: str, why: str, error: str | None, **more: Any) -> None:
    _, key, reader = GOOD.get(kind, (None, "north", "coordinator"))
    vector = {
        "why": why,
        "error": error,
        "statement": kind,
        "role": "site" if key == "north" else key,
        "site": "north" if key == "north" else None,
        "reader": reader,
        "now": NOW,
        "ring": RING,
        "envelope": envelope,
        **more,
    }
    (HERE / f"{name}.json").write_text(json.dumps(vector, indent=1) + "\n")


def bent(kind: str, path: str, value: Any) -> str:
    """Sign the good statement with one field replaced: `a.0.b`; ... takes the field away."""
    make, key, _ = GOOD[kind]
    statement: Any = make()
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = statement
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return signed(statement, kind, key)


FIELDS = (
    ("study", "unknown-field", "note", "hello", "a field that the schema does not name"),
    ("study", "unknown-inner-field", "experiment.note", "hello", "the same, deeper"),
    ("study", "missing-schema", "schema", ..., "a statement that does not say its schema"),
    ("study", "other-schema", "schema", "reidscope.study/9.0", "another major version"),
    ("study", "missing-field", "question", ..., "a field is not there"),
    ("study", "anchors-not-ascending", "experiment.anchors", [1000, 100], "sizes in no order"),
    ("study", "anchor-beyond-a-tenth", "experiment.reference_size", 9999, "an unmeasured anchor"),
    ("study", "anchor-of-one", "experiment.anchors", [1, 1000], "a gallery of the mate alone"),
    ("study", "no-anchors", "experiment.anchors", [], "no gallery size"),
    ("study", "gallery-error-of-others", "experiment.gallery_error.0.gallery_size", 99, "no such"),
    ("study", "first-arm-defaced", "experiment.arms", ["blur", "quickshear"], "no unmodified arm"),
    ("study", "arm-twice", "experiment.arms", ["unmodified", "blur", "blur"], "an arm twice"),
    ("study", "epsilon-zero", "tables.0.epsilon_nano", 0, "a table for nothing"),
    ("study", "epsilon-negative", "tables.0.epsilon_nano", -1, "a table that pays back"),
    ("study", "epsilon-float", "tables.0.epsilon_nano", 2e9, "a float is no nano-epsilon"),
    ("study", "epsilon-text", "tables.0.epsilon_nano", "2000000000", "text is no number"),
    ("study", "epsilon-boundless", "tables.0.epsilon_nano", 10**400, "an epsilon over 1000"),
    ("study", "other-cells", "tables.0.cells", ["a", "b"], "cells that are not the experiment's"),
    ("study", "cells-reordered", "tables.0.cells", study()["tables"][0]["cells"][::-1], "reversed"),
    ("study", "other-table", "tables.0.table", "people", "a table that the experiment has not"),
    ("study", "two-tables", "tables", study()["tables"] * 2, "every table twice"),
    ("study", "no-table", "tables", [], "nothing asked"),
    ("study", "time-not-utc", "opens_at", "2026-01-02T00:00:00+14:00", "shown as another time"),
    ("study", "time-without-zone", "opens_at", "2026-01-02T00:00:00", "nobody knows when"),
    ("study", "closes-before-it-opens", "closes_at", "2026-01-01T12:00:00Z", "never open"),
    ("study", "ends-before-it-starts", "not_after", "2025-12-31T00:00:00Z", "never valid"),
    ("study", "unknown-attacker", "experiment.attackers", ["clever"], "not one of the words"),
    ("study", "no-attacker", "experiment.attackers", [], "nobody attacks"),
    ("study", "unknown-mate", "experiment.mate", "fingerprint", "not one of the words"),
    ("study", "unknown-direction", "experiment.direction", "sideways", "not one of the words"),
    ("study", "cap-of-none", "experiment.scan_cap", 0, "no scan of anybody"),
    ("study", "cap-of-many", "experiment.scan_cap", 11, "more scans than an agent reads"),
    ("study", "views-of-none", "experiment.renders.views", 2, "no such set of cameras"),
    ("study", "other-schema-one", "schema", "reidscope.study/1.0", "what sites once approved"),
    ("study", "more-sites-than-asked", "minimum_sites", 3, "can never be reached"),
    ("study", "site-twice", "audience", ["north", "north"], "a site twice"),
    ("study", "site-with-escape", "audience", ["north", "\x1b[2K"], "a name that moves a cursor"),
    ("study", "question-of-two-lines", "question", "A?\nepsilon  0.01", "forges a shown line"),
    ("study", "title-with-escape", "title", "Faces\x1b[8m", "hides text on a terminal"),
    ("study", "text-turned-round", "five_safes.data", "a\u202eb", "bidirectional override"),
    ("study", "unknown-population", "population", "everybody", "not one of the words"),
    ("study", "rule-over-people", "cohort.rule", "latest-84", "a rule that compares people"),
    ("study", "id-with-slash", "study_id", "../up", "an id that is no name"),
    ("decision", "free-text", "reason", "the committee was asleep", "a person's text"),
    ("decision", "short-nonce", "nonce", "00", "a nonce that can be guessed"),
    ("decision", "unknown-verdict", "verdict", "maybe", "not one of the words"),
    ("release", "float-count", "tables.0.counts", [1.5, 2, 3, 4], "noise is of integers"),
    ("release", "boundless-count", "tables.0.counts", [10**300, 0, 0, 0], "no float holds it"),
    ("release", "boundless-epsilon", "tables.0.epsilon_nano", 10**400, "no float holds it"),
    ("release", "boundless-people", "declared_people", 10**30, "more people than there are"),
    ("release", "other-mechanism", "tables.0.mechanism", "gaussian", "not the mechanism"),
    ("release", "exact-counts-beside", "exact", [1, 2, 3, 4], "a field that nobody approved"),
    ("receipt", "counter-zero", "counter", 0, "counts from one"),
    ("receipt", "short-head", "ledger.head", "ab", "no hash"),
    ("sum-keys", "attempt-zero", "attempt", 0, "counts from one"),
    ("sum-keys", "short-key", "x25519", "ab" * 31, "31 bytes"),
    ("sum-keys", "private-half-beside", "private", "ab" * 32, "a field that nobody approved"),
    ("sum-round", "unknown-phase", "phase", "again", "not one of the words"),
    ("sum-round", "sum-of-nobody", "phase", "sum", "participants without a list"),
    ("sum-round", "attempt-boundless", "attempt", 11, "more attempts than any study has"),
    ("masked-release", "half-a-word", "tables.0.words", "AAAA", "three bytes"),
    ("masked-release", "loose-base64", "tables.0.words", "AAAAAAAAAAB=", "other text, same bytes"),
    ("masked-release", "urlsafe-base64", "tables.0.words", "AAAAAAAAA_8=", "another alphabet"),
    ("masked-release", "counts", "tables.0.words", [3, -1], "counts are no words"),
    ("masked-release", "free", "tables.0.epsilon_nano", 0, "a table for nothing"),
    ("masked-release", "boundless-alone", "tables.0.alone_nano", 10**400, "no float holds it"),
    ("masked-release", "other-mechanism", "tables.0.mechanism", "discrete-laplace", "not a share"),
    ("masked-release", "counts-beside", "counts", [3, -1], "a field that nobody approved"),
)


COHORT = {
    "rule": "everyone-who-meets",
    "sexes": ["F"],
    "ages": {"low": 18, "high": 89},
    "modalities": ["MR"],
    "years": {"low": 2015, "high": None},
    "mates": ["second-scan"],
    "sample": {"share_ppm": 500000, "salt": "wave-1"},
}
BY_SEX = {"by": "sex", "values": ["F", "M"], "ages": []}
BEST = {"views": 3, "lights": 1, "fusion": "best", "grey": False}
MORE_GOOD: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("second-scan", study(mate="second-scan"), "no site has photos"),
    ("two-attackers", study(attackers=["calibrated", "repairing"]), "a bit more a defacer"),
    ("damage", study(damage_arms=["blur"]), "a table of its own"),
    ("most-exposed", study(scan_rule="most-exposed", scan_cap=3), "the first three scans"),
    ("gallery-of-scans", study(direction="population-to-sample"), "photos search scans"),
    ("best-of-renders", study(renders=BEST), "the render that fits best counts"),
    ("cohort", {**study(), "cohort": COHORT}, "conditions on one person, and a keyed sample"),
    ("groups", study(groups=BY_SEX), "the joint table crossed with groups"),
    ("gates-ignored", study(failed_gate="released"), "defacers as they come"),
    ("two-networks", with_two_networks(), "two recognisers put together"),
    ("distributed", distributed(), "two sites share the noise"),
    (
        "unmodified-alone",
        {
            **study(arms=["unmodified"]),
            "tables": tables(study(arms=["unmodified"])["experiment"])[:1],
        },
        "no defacer, no gates",
    ),
)

_TABLES = "tables must be the experiment's own"
_DAMAGE = "damage_arms must be different defacers"
_CAP = "a cap of several scans goes with most-exposed"
_BEST = "best-of fusion is for scans that search photos"
_ROLES = "each constant's role but the recogniser's must appear exactly once"
_NETWORKS = "the recogniser's networks must be its declaration's"
_ROSTER = distributed()["noise"]["roster"]
RULES: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    (
        "colluders-all",
        distributed(colluders_tolerated=1),
        "one honest site alone",
        "minimum_sites must be at least colluders_tolerated + 2",
    ),
    (
        "roster-without-a-site",
        distributed(roster=[_ROSTER[0], {**_ROSTER[1], "site": "east"}]),
        "whose key is that?",
        "the roster must hold one key of each site of the audience",
    ),
    (
        "roster-key-twice",
        distributed(roster=[_ROSTER[0], {**_ROSTER[0], "site": "south"}]),
        "one site under two names",
        "each key of the roster must belong to one site",
    ),
    (
        "roster-of-the-coordinator",
        distributed(roster=[_ROSTER[0], {**_ROSTER[1], "role": "coordinator"}]),
        "no site",
        "the roster holds sites' keys alone",
    ),
    ("no-attempt", distributed(attempts=0), "never begun", "greater than or equal to 1"),
    (
        "repairing-first",
        study(attackers=["repairing", "calibrated"]),
        "nobody reads the scans as they are",
        "the first attacker must be one who takes scans as they are",
    ),
    ("attacker-twice", study(attackers=["raw", "raw"]), "twice", "attackers must be different"),
    ("damage-of-unknown-arm", study(damage_arms=["mystery"]), "no such defacer", _DAMAGE),
    ("damage-of-unmodified", study(damage_arms=["unmodified"]), "no defacer", _DAMAGE),
    ("damage-twice", study(damage_arms=["blur", "blur"]), "charged twice", _DAMAGE),
    ("most-exposed-without-cap", study(scan_rule="most-exposed"), "of how many?", _CAP),
    ("cap-without-most-exposed", study(scan_cap=3), "a cap on one scan", _CAP),
    (
        "most-exposed-second-scan",
        study(mate="second-scan", scan_rule="most-exposed", scan_cap=2),
        "a scan would search itself",
        "most-exposed needs photos as mates",
    ),
    ("best-second-scan", study(mate="second-scan", renders=BEST), "which of both?", _BEST),
    ("best-reversed", study(direction="population-to-sample", renders=BEST), "which?", _BEST),
    (
        "cohort-of-one-age",
        {**study(), "cohort": {**COHORT, "ages": {"low": 47, "high": 47}}},
        "an age of one year can single one person out",
        "an age range must hold at least 5 whole years",
    ),
    (
        "cohort-that-asks-nothing",
        {**study(), "cohort": {"rule": "everyone-who-meets"}},
        "which conditions?",
        "conditions go with everyone-who-meets",
    ),
    (
        "group-twice",
        study(groups={**BY_SEX, "values": ["F", "F"]}),
        "groups that are not disjoint",
        "groups must be different ones",
    ),
    (
        "groups-not-crossed",
        {**study(groups=BY_SEX), "tables": study()["tables"]},
        "groups that no cell names",
        _TABLES,
    ),
    ("gates-missing", without(study(), 1), "a defacer that always fails looks safe", _TABLES),
    ("damage-missing", without(study(damage_arms=["blur"]), 2), "not asked for", _TABLES),
    (
        "damage-unasked",
        {**study(), "tables": study(damage_arms=["blur"])["tables"]},
        "a table that the experiment does not name",
        _TABLES,
    ),
    ("tables-reordered", {**study(), "tables": study()["tables"][::-1]}, "gates first", _TABLES),
    (
        "attacker-without-column",
        {**study(attackers=["calibrated", "raw"]), "tables": study()["tables"]},
        "an attacker whom no cell names",
        _TABLES,
    ),
    ("constant-missing", constants(slice(0, 4)), "a role without a file", _ROLES),
    ("constant-twice", constants(slice(0, 5), 0), "two galleries", _ROLES),
    ("recogniser-missing", constants(slice(0, 3), 4), "no network", _NETWORKS),
    ("recogniser-twice", constants(slice(0, 5), 3), "one network twice", _NETWORKS),
    ("other-recogniser", named(recogniser="f" * 64), "another network", _NETWORKS),
    ("other-second-network", with_two_networks(sha256="f" * 64), "another network", _NETWORKS),
    (
        "other-detector",
        named(detector="f" * 64),
        "another detector than the recogniser was calibrated with",
        "the detector must be the recogniser declaration's",
    ),
)


def main() -> None:
    for kind, (make, key, _) in GOOD.items():
        put(f"{kind}_good", kind, signed(make(), kind, key), "as it should be", None)
    for kind, name, path, value, why in FIELDS:
        put(f"{kind}_bad_{name}", kind, bent(kind, path, value), why, "MalformedError")
    for name, said, why in MORE_GOOD:
        put(f"study_{name}_good", "study", signed(said, "study", "study"), why, None)
    for name, said, why, says in RULES:
        envelope = signed(said, "study", "study")
        put(f"study_bad_{name}", "study", envelope, why, "MalformedError", says=says)
    _envelopes()
    _voices()
    _times()
    for each in vectors(KEYS, RING):
        more = {**({"says": each.says} if each.says else {}), **each.more}
        put(f"key-change_{each.name}", "key-change", each.envelope, each.why, each.error, **more)


def _envelopes() -> None:
    good = signed(study(), "study", "study")
    held = json.loads(good)
    other = json.loads(signed(study(), "study", "coordinator"))["signatures"]

    def bad(name: str, envelope: str, why: str, error: str = "MalformedError", **more: Any) -> None:
        put(f"study_bad_{name}", "study", envelope, why, error, **more)

    def changed(**fields: Any) -> str:
        return json.dumps({**held, **fields})

    signature = held["signatures"][0]
    payload = base64.b64decode(held["payload"])
    bad("two-signatures", changed(signatures=held["signatures"] + other), "one voice, not two")
    bad("signature-twice", changed(signatures=held["signatures"] * 2), "a threshold of two by one")
    bad("no-signature", changed(signatures=[]), "nobody's word")
    bad("type-swapped", changed(payloadType=TYPES["release"]), "type altered after signing")
    swapped = json.loads(signed(study(), "release", "study"))
    bad("type-signed-otherwise", json.dumps(swapped), "signed as another statement")
    swapped["payloadType"] = TYPES["study"]
    bad("type-restored", json.dumps(swapped), "the type is signed too", "BadSignatureError")
    bad("duplicate-key-outside", good[:-1] + ',"payload":"AAAA"}', "two payloads")
    twice = json.dumps(study())[:-1] + ',"title":"Another"}'
    bad("duplicate-key-inside", signed(twice.encode(), "study", "study"), "two titles")
    escaped = json.dumps(study())[:-1] + ',"t\\u0069tle":"Another"}'
    bad("duplicate-key-escaped", signed(escaped.encode(), "study", "study"), "two spellings")
    bad("unknown-key", changed(note="hello"), "a key that DSSE does not name")
    bad("truncated", good[: len(good) // 2], "half of it")
    bad("empty", "", "nothing")
    bad("list", "[]", "no object")
    bad("oversized", good, "more than 16 MiB", padded_to=(16 << 20) + 1)
    bad("no-base64", changed(payload="!!!!"), "not in the alphabet")
    bad("urlsafe-base64", changed(payload=held["payload"][:-4] + "-_-_"), "another alphabet")
    bad("unpadded-base64", changed(payload=held["payload"].rstrip("=") + "A"), "no whole bytes")
    loose = signature["sig"][:-3] + chr(ord(signature["sig"][-3]) + 1) + "=="
    bad("loose-base64", changed(signatures=[{**signature, "sig": loose}]), "same bytes, other text")
    bad(
        "payload-altered",
        changed(payload=_b64(payload.replace(b"faces-1", b"faces-2"))),
        "a byte changed",
        "BadSignatureError",
    )
    bad(
        "signature-altered",
        changed(signatures=[{**signature, "sig": _b64(bytes(64))}]),
        "no signature of these bytes",
        "BadSignatureError",
    )
    bad(
        "signature-short",
        changed(signatures=[{**signature, "sig": "AAAA"}]),
        "three bytes",
        "BadSignatureError",
    )
    bad("payload-no-json", signed(b"\xff\xfe{}", "study", "study"), "signed noise")
    bad(
        "payload-utf16", signed(json.dumps(study()).encode("utf-16"), "study", "study"), "not UTF-8"
    )
    bad("payload-deep", signed(b"[" * 20_000, "study", "study"), "nested without end")


def _voices() -> None:
    def bad(name: str, kind: str, envelope: str, why: str) -> None:
        put(f"{kind}_bad_{name}", kind, envelope, why, "BadSignatureError")

    bad("wrong-role", "study", signed(study(), "study", "coordinator"), "receipts' key, no study's")
    bad("site-key", "study", signed(study(), "study", "north"), "a site writes no studies")
    bad("key-expired", "study", signed(study(), "study", "old"), "a key that spoke before")
    bad("another-site", "decision", signed(decision(), "decision", "south"), "south as north")
    bad("another-site", "release", signed(release(), "release", "south"), "south as north")
    bad("coordinator-key", "release", signed(release(), "release", "coordinator"), "no site")
    stranger = StatementKey(Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32))
    envelope = sign_payload(
        json.dumps(study()).encode(), payload_type=TYPES["study"], key=stranger
    ).decode()
    bad("unknown-key-id", "study", envelope, "a key that nobody pinned")
    held = json.loads(envelope)
    held["signatures"][0]["keyid"] = KEYS["study"].public
    bad("borrowed-key-id", "study", json.dumps(held), "a pinned id over a stranger's signature")


def _times() -> None:
    good = signed(study(), "study", "study")
    put(
        "study_bad_expired",
        "study",
        good,
        "read too late",
        "StaleError",
        now="2026-12-01T00:00:01Z",
    )
    put(
        "study_bad_not-yet",
        "study",
        good,
        "read too early",
        "StaleError",
        now="2025-12-31T23:54:00Z",
    )
    put(
        "study_bad_other-audience",
        "study",
        good,
        "meant for others",
        "WrongAudienceError",
        reader="west",
    )


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    main()
