"""What is said to add tables up so that only the sum can be read: keys, rounds, masked tables.

    SumKeys        site -> coordinator -> all sites    one ephemeral X25519 key, for one attempt
    SumRound       coordinator -> sites                give keys; these are the participants; done
    MaskedRelease  site -> coordinator                 tables + noise shares + masks, mod 2^64

A round is its list of keys: `round_sha256` hashes the study, the attempt and every participant's
signed key, and all masks are drawn under it. Two lists are two rounds, whose masks do not cancel.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from reidscope_protocols.distributed import LARGEST_ATTEMPTS, DistributedNoise
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload
from reidscope_protocols.errors import MalformedError, WrongAudienceError
from reidscope_protocols.privacy import LARGEST_NANO
from reidscope_protocols.statements import LARGEST_SITE, WORLD, LedgerHead, Parsed, Statement
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole, Line, Sha256, SiteName

WORD_BITS = 64
MODULUS = 1 << WORD_BITS
_WORD_BYTES = WORD_BITS // 8
_DOMAIN = "reidscope/sum-round/1"

Attempt = Annotated[int, Field(ge=1, le=LARGEST_ATTEMPTS)]
_Words = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=60_000)]


class SumKeys(Statement):
    """A site's ephemeral key for one attempt: it is used for one list of participants at most.

    Attributes
    ----------
    x25519 : str
        Raw public key, 64 hexadecimal digits.
    """

    payload_type = "application/vnd.reidscope.sum-keys+json"
    schema_: Literal["reidscope.sum-keys/1.0"] = Field("reidscope.sum-keys/1.0", alias="schema")
    study_sha256: Sha256
    site: SiteName
    attempt: Attempt
    x25519: Sha256

    @classmethod
    def name(cls) -> str:
        """Words for messages."""
        return "sum keys"


class SumRound(Statement):
    """The coordinator's word about one attempt.

    Attributes
    ----------
    phase : str
        `keys`: the attempt before has failed, give keys for this one; `sum`: `keys` are the
        participants, send masked tables; `done`: the sum is known, nothing more is asked.
    keys : tuple of str
        SumKeys envelopes, sorted by site; in phase `sum` alone.
    """

    payload_type = "application/vnd.reidscope.sum-round+json"
    schema_: Literal["reidscope.sum-round/1.0"] = Field("reidscope.sum-round/1.0", alias="schema")
    study_sha256: Sha256
    attempt: Attempt
    phase: Literal["keys", "sum", "done"]
    keys: tuple[str, ...] = Field((), max_length=1000)

    @model_validator(mode="after")
    def _lists_keys_exactly_to_sum(self) -> Self:
        if bool(self.keys) != (self.phase == "sum"):
            message = "keys are listed in phase `sum`, and in no other"
            raise ValueError(message)
        return self

    @classmethod
    def name(cls) -> str:
        """Words for messages."""
        return "sum round"


class MaskedTable(Parsed):
    """One table under noise share and masks: by itself it says nothing.

    Attributes
    ----------
    words : str
        Canonical base64 of one 64-bit word a cell, most significant byte first.
    epsilon_nano : int
        Charged: what the sum costs a person, if no more collude than are tolerated.
    alone_nano : int
        Recorded beside it: what it would cost if everybody else colluded.
    """

    table: Line
    words: _Words
    epsilon_nano: int = Field(gt=0, le=LARGEST_NANO)
    alone_nano: int = Field(gt=0, le=LARGEST_NANO)
    mechanism: Literal["polya-share"] = "polya-share"

    @model_validator(mode="after")
    def _holds_whole_words(self) -> Self:
        try:
            content = base64.b64decode(self.words, validate=True)
        except binascii.Error:
            content = b"?"
        if len(content) % _WORD_BYTES or base64.b64encode(content).decode() != self.words:
            message = "words must be canonical base64 of whole 64-bit words"
            raise ValueError(message)
        return self

    def cells(self) -> tuple[int, ...]:
        """Return the words as integers, 0 <= w < 2^64."""
        content = base64.b64decode(self.words)
        return tuple(
            int.from_bytes(content[start : start + _WORD_BYTES], "big")
            for start in range(0, len(content), _WORD_BYTES)
        )


class MaskedRelease(Statement):
    """A site's masked tables for one round of a study.

    Attributes
    ----------
    round_sha256 : str
        The list of participants that the masks were drawn for.
    """

    payload_type = "application/vnd.reidscope.masked-release+json"
    schema_: Literal["reidscope.masked-release/1.0"] = Field(
        "reidscope.masked-release/1.0", alias="schema"
    )
    study_sha256: Sha256
    site: SiteName
    attempt: Attempt
    round_sha256: Sha256
    tables: tuple[MaskedTable, ...] = Field(min_length=1, max_length=50)
    declared_people: int = Field(ge=1, le=LARGEST_SITE)
    ledger: LedgerHead
    versions: dict[Line, Line] = Field(max_length=50)

    @classmethod
    def name(cls) -> str:
        """Words for messages."""
        return "masked release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """A list of keys that was checked: who adds up, and under which name.

    Attributes
    ----------
    keys : mapping of str to bytes
        Raw X25519 public key by site, sorted by site.
    envelopes : mapping of str to bytes
        The signed SumKeys, by site.
    sha256 : str
        The round's: it binds study, attempt and every signed key.
    """

    study_sha256: str
    attempt: int
    keys: Mapping[str, bytes]
    envelopes: Mapping[str, bytes]
    sha256: str


def words(cells: Iterable[int]) -> str:
    """Write integers, taken mod 2^64, as `MaskedTable.words`."""
    content = b"".join((cell % MODULUS).to_bytes(_WORD_BYTES, "big") for cell in cells)
    return base64.b64encode(content).decode()


def unmasked_sum(tables: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Add words cell by cell mod 2^64 and read the sums as signed integers.

    With every participant's table in it the masks cancel, and what is left is counts plus noise.
    """
    sums = (sum(column) % MODULUS for column in zip(*tables, strict=True))
    return tuple(each - MODULUS if each >= MODULUS // 2 else each for each in sums)


def participants(
    study: Opened[Study], noise: DistributedNoise, attempt: int, keys: Iterable[bytes]
) -> Participants:
    """Check a list of signed keys against the roster that the study's approval binds.

    Parameters
    ----------
    keys : iterable of bytes
        SumKeys envelopes, in any order.

    Raises
    ------
    BadSignatureError
        A key that its site's roster key did not sign.
    WrongAudienceError
        A key for another study or attempt.
    MalformedError
        A site or a key twice, or fewer sites than the study's minimum.
    """
    said: dict[str, Opened[SumKeys]] = {}
    for envelope in keys:
        opened = open_sum_keys(study, noise, attempt, envelope)
        if opened.statement.site in said:
            raise _listed("a site twice")
        said[opened.statement.site] = opened
    ordered = dict(sorted(said.items()))
    public = {site: bytes.fromhex(each.statement.x25519) for site, each in ordered.items()}
    if len(set(public.values())) != len(public):
        raise _listed("a key twice")
    if len(public) < study.statement.minimum_sites:
        raise _listed(f"{len(public)} sites", f"at least {study.statement.minimum_sites}")
    listed = [[site, each.sha256] for site, each in ordered.items()]
    body = (_DOMAIN, study.sha256, attempt, noise.colluders_tolerated, listed)
    text = json.dumps(body, separators=(",", ":"))
    return Participants(
        study_sha256=study.sha256,
        attempt=attempt,
        keys=public,
        envelopes={site: each.envelope for site, each in ordered.items()},
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def open_sum_keys(
    study: Opened[Study], noise: DistributedNoise, attempt: int, envelope: bytes
) -> Opened[SumKeys]:
    """Open one site's key for an attempt, signed by its key of the roster."""
    claimed = peek_site(envelope)
    opened = open_envelope(envelope, SumKeys, noise.ring, role=KeyRole.SITE, site=claimed)
    said = opened.statement
    said.check_audience(WORLD)
    if (said.study_sha256, said.attempt, said.site) != (study.sha256, attempt, claimed):
        raise WrongAudienceError(
            "sum keys",
            got="keys for another study or attempt, or in another site's name",
            expected=f"keys for attempt {attempt} of this study",
            do="refuse the list; tell the coordinator",
        )
    return opened


def peek_site(envelope: bytes) -> str:
    """Site that a SumKeys names, WITHOUT checking its signature: to look its key up."""
    return SumKeys.parse(peek_payload(envelope)).site


def _listed(got: str, expected: str = "each once") -> MalformedError:
    return MalformedError(
        "list of participants", got=got, expected=expected, do="refuse it; tell the coordinator"
    )
