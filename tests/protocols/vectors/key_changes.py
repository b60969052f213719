"""The vectors of a KeyChange: every reason for which one is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reidscope_protocols.envelope import sign_payload
from reidscope_protocols.keys import StatementKey

CHANGE = "application/vnd.reidscope.key-change+json"
CLAIM = "application/vnd.reidscope.key-claim+json"
NEXT, THIRD = (
    StatementKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (6, 7)
)
_ANOTHER = "got one that speaks of another key, role or site than its signer's"
_OVERLAP = "got the same key twice, or an overlap that is negative or too long"
_ABOUT = "got a claim of the new key that is about something else"
_NOBODYS = "keychange statement: got a signature by no key"
_NOT_NEXT = "keyclaim statement: got a signature by no key"
_ENDED = "got one by a key that has ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One file: what it is called, the envelope, why, and how it is refused."""

    name: str
    why: str
    envelope: str
    error: str | None = None
    says: str = ""
    more: Mapping[str, Any]


def vectors(  # noqa: PLR0915  # a table of vectors, read from the top
    keys: Mapping[str, StatementKey], ring: list[dict[str, Any]]
) -> Iterator[Vector]:
    """Give every vector; the reader is the coordinator, the site is north."""
    north = keys["north"]

    def fields() -> dict[str, Any]:
        return {
            "audience": ["coordinator"],
            "issued_at": "2026-01-20T00:00:00Z",
            "not_after": "2026-03-01T00:00:00Z",
            "role": "site",
            "site": "north",
            "old_key": north.public,
            "new_key": NEXT.public,
            "nonce": "0123456789abcdef" * 2,
        }

    def claim(key: StatementKey = NEXT, kind: str = CLAIM, **bent: Any) -> str:
        said = {"schema": "reidscope.key-claim/1.0", **fields(), "csr_pem": None, "ca_sha256": None}
        return _signed({**said, **bent}, kind, key)

    def change(key: StatementKey = north, kind: str = CHANGE, **bent: Any) -> str:
        said = {"schema": "reidscope.key-change/1.0", **fields(),
                "overlap_ends": "2026-02-19T00:00:00Z", "claim": claim()}  # fmt: skip
        return _signed({**said, **bent}, kind, key)

    def both(key: StatementKey = north, by: StatementKey = NEXT, **bent: Any) -> str:
        return change(key, **bent, claim=claim(by, **bent))

    def good(name: str, why: str, envelope: str, **more: Any) -> Vector:
        return Vector(name=name, why=why, envelope=envelope, more=more)

    def bad(error: str) -> Callable[..., Vector]:
        def build(name: str, why: str, envelope: str, says: str = "", **more: Any) -> Vector:
            return Vector(
                name=f"bad_{name}", why=why, envelope=envelope, error=error, says=says, more=more
            )

        return build

    malformed, forged, stale = bad("MalformedError"), bad("BadSignatureError"), bad("StaleError")

    yield good("good", "a site's old key hands over for thirty days", change())
    yield good("at-once_good", "the old key may be stolen", change(overlap_ends=_ISSUED))
    yield good("longest_good", "thirty-one days", change(overlap_ends="2026-02-20T00:00:00Z"))
    yield good(
        "study-key_good", "the coordinator's own, for everybody",
        both(keys["study"], role="study", site=None, audience=["world"],
             old_key=keys["study"].public),
        role="study", site=None, reader="world",
    )  # fmt: skip

    # who signed it
    yield forged("stranger", "by a key that nobody pinned", change(THIRD), _NOBODYS)
    yield forged("itself", "the new key alone says so", change(NEXT), _NOBODYS)
    yield forged("another-site", "south hands north's voice over", change(keys["south"]), _NOBODYS)
    yield forged("coordinator", "the coordinator names a site's key", change(keys["coordinator"]),
                 _NOBODYS)  # fmt: skip
    held = json.loads(change(THIRD))
    held["signatures"][0]["keyid"] = north.public
    yield forged("borrowed-key-id", "a pinned id over a stranger's signature", json.dumps(held),
                 "got one that does not fit the bytes")  # fmt: skip
    yield forged("before-its-key", "dated before the old key was made",
                 both(issued_at="2025-11-30T00:00:00Z"), _NOBODYS)  # fmt: skip

    # of whom it speaks
    yield forged("another-key", "the old key of somebody else", both(old_key=keys["south"].public),
                 _ANOTHER)  # fmt: skip
    yield forged("in-anothers-name", "north's key, south's name", both(site="south"), _ANOTHER)
    yield forged("another-role", "north's key, the study's voice", both(role="study", site=None),
                 _ANOTHER)  # fmt: skip
    yield forged("a-site-without-name", "a site's key, of no site", both(site=None), _ANOTHER)

    # when, and for whom
    yield stale("expired", "taken too late", change(), "got one that ended",
                now="2026-03-01T00:00:01Z")  # fmt: skip
    yield stale("not-yet", "taken too early", change(), "got an issue time in the future",
                now="2026-01-19T23:54:00Z")  # fmt: skip
    yield bad("WrongAudienceError")("other-audience", "for the sites", both(audience=["world"]),
                                    "got an audience without this reader")  # fmt: skip
    yield stale("ended-key", "its key was said to be stolen", change(), _ENDED,
                ring=_bent(ring, ended_at="2026-01-25T00:00:00Z"))  # fmt: skip
    yield stale("outlived-key", "its key's overlap is over", change(), _ENDED,
                ring=_bent(ring, not_after="2026-01-31T00:00:00Z"))  # fmt: skip

    # what it hands over
    yield malformed("same-key", "to itself", both(by=north, new_key=north.public), _OVERLAP)
    yield malformed("overlap-before", "an overlap that ended first",
                    change(overlap_ends="2026-01-19T00:00:00Z"), _OVERLAP)  # fmt: skip
    yield malformed("overlap-of-a-year", "two keys for ever",
                    change(overlap_ends="2027-01-20T00:00:00Z"), _OVERLAP)  # fmt: skip
    yield malformed("overlap-a-second-long", "thirty-one days and a second",
                    change(overlap_ends="2026-02-20T00:00:01Z"), _OVERLAP)  # fmt: skip

    # what the new key says
    yield forged("claim-by-old-key", "the old key answers for the new one",
                 change(claim=claim(north)), _NOT_NEXT)  # fmt: skip
    yield forged("claim-by-stranger", "nobody proved the new key", change(claim=claim(THIRD)),
                 _NOT_NEXT)  # fmt: skip
    stolen = json.loads(claim(THIRD))
    stolen["signatures"][0]["keyid"] = NEXT.public
    yield forged(
        "claim-borrowed-key-id",
        "the new key's id, a stranger's signature",
        change(claim=json.dumps(stolen)),
        "got one that does not fit the bytes",
    )
    altered = json.loads(claim())
    inside = base64.b64decode(altered["payload"]).replace(b'"csr_pem": null', b'"csr_pem":  null')
    altered["payload"] = base64.b64encode(inside).decode()
    yield forged("claim-altered", "a byte of the claim changed", change(claim=json.dumps(altered)),
                 "got one that does not fit the bytes")  # fmt: skip
    yield forged("claim-before-change", "the claim is older than the change",
                 change(claim=claim(issued_at="2026-01-19T00:00:00Z")), _NOT_NEXT)  # fmt: skip
    yield forged("claim-after-change", "the claim is younger than the change lasts",
                 change(claim=claim(issued_at="2026-03-02T00:00:00Z",
                                    not_after="2026-04-01T00:00:00Z")), _NOT_NEXT)  # fmt: skip
    for field, other in (
        ("old_key", THIRD.public), ("new_key", THIRD.public), ("nonce", "ff" * 16),
        ("role", "study"), ("site", "south"), ("audience", ["world"]),
    ):  # fmt: skip
        yield malformed(f"claim-other-{field.replace('_', '-')}", "lifted from another change",
                        change(claim=claim(**{field: other})), _ABOUT)  # fmt: skip
    yield malformed("claim-of-another-type", "a change as a claim",
                    change(claim=claim(kind=CHANGE)), "got another payload type")  # fmt: skip
    yield malformed("claim-no-envelope", "fifty letters", change(claim="a" * 60), "envelope")
    yield malformed("claim-missing-request", "says nothing of a certificate",
                    change(claim=claim(csr_pem=...)), "csr_pem")  # fmt: skip
    yield malformed("claim-request-no-pem", "no request", change(claim=claim(csr_pem="hello")),
                    "csr_pem")  # fmt: skip
    yield malformed("claim-short", "an empty claim", change(claim=""), "claim")
    yield malformed("claim-giant", "more than a claim can need", change(claim="a" * 40_001),
                    "claim")  # fmt: skip

    # its form
    yield malformed("type-swapped", "a claim stands for the change", claim(north),
                    "got another payload type")  # fmt: skip
    yield malformed("unknown-field", "a field that nobody reads", change(note="hello"))
    yield malformed("missing-schema", "does not say its schema", change(schema=...))
    yield malformed("other-schema", "another version", change(schema="reidscope.key-change/2.0"))
    yield malformed("short-nonce", "can be guessed", change(nonce="00"), "nonce")
    yield malformed("short-key", "no key", change(new_key="ab" * 31), "new_key")
    yield malformed("unknown-role", "not one of the words", change(role="committee"), "role")
    yield malformed("overlap-not-utc", "shown as another time",
                    change(overlap_ends="2026-02-19T00:00:00+14:00"), "overlap_ends")  # fmt: skip
    yield malformed("ends-before-it-starts", "never valid",
                    change(not_after="2026-01-01T00:00:00Z"))  # fmt: skip


_ISSUED = "2026-01-20T00:00:00Z"


def _signed(said: dict[str, Any], kind: str, key: StatementKey) -> str:
    payload = json.dumps({name: value for name, value in said.items() if value is not ...})
    return sign_payload(payload.encode(), payload_type=kind, key=key).decode()


def _bent(ring: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [{**record, **fields} if record["site"] == "north" else record for record in ring]
