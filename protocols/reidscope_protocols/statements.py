"""What every signed statement shares, and the four that follow a study.

    Study -> Decision -> Release -> Receipt -> Report

A statement is signed as bytes and parsed afterwards, never serialised again: `envelope` signs and
opens, `study` and `report` hold the two long ones. Fields that the schema does not name are
refused, so that nothing unseen can be approved.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from reidscope_protocols.errors import MalformedError, StaleError, WrongAudienceError
from reidscope_protocols.privacy import LARGEST_NANO
from reidscope_protocols.vocabulary import (
    DecisionReason,
    Line,
    Moment,
    Sha256,
    SiteName,
    Verdict,
)

COORDINATOR = "coordinator"
WORLD = "world"
Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_CLOCK_SKEW_SECONDS = 300
_LONGEST_PLACE = 100
_LARGEST_COUNT = 10**15
LARGEST_SITE = 10**9  # people
LARGEST_POPULATION = 10**10  # people


class Parsed(BaseModel):
    """Base of everything that is parsed from outside: frozen, strict, no unknown field."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", serialize_by_alias=True, validate_by_name=True
    )


class Statement(Parsed):
    """Header of every signed statement.

    Attributes
    ----------
    audience : tuple of str
        Site names, `coordinator` or `world`: whoever is not named must refuse.
    issued_at, not_after : datetime
        UTC; the statement holds from the first to the second.
    """

    payload_type: ClassVar[str]
    schema_: str = Field(alias="schema")
    audience: tuple[SiteName, ...] = Field(max_length=1000)
    issued_at: Moment
    not_after: Moment

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.not_after <= self.issued_at:
            message = "not_after must come after issued_at"
            raise ValueError(message)
        return self

    def check_time(self, now: datetime) -> None:
        """Raise StaleError unless the statement holds at `now`, clocks within five minutes."""
        if (self.issued_at - now).total_seconds() > _CLOCK_SKEW_SECONDS:
            raise StaleError(
                f"{self.name()} statement",
                got="an issue time in the future",
                expected=f"one at most {_CLOCK_SKEW_SECONDS} s ahead of this clock",
                do="compare the two clocks",
            )
        if now > self.not_after:
            raise StaleError(
                f"{self.name()} statement",
                got=f"one that ended at {self.not_after:%Y-%m-%d %H:%M} UTC",
                expected="one that still holds",
                do="ask for a newer one",
            )

    def check_audience(self, reader: str) -> None:
        """Raise WrongAudienceError unless `reader` is named."""
        if reader not in self.audience:
            raise WrongAudienceError(
                f"{self.name()} statement",
                got="an audience without this reader",
                expected=f"one that names {reader}",
                do="ask who it was meant for",
            )

    @classmethod
    def name(cls) -> str:
        """Word for messages, such as `study`."""
        return cls.__name__.lower()

    def payload(self) -> bytes:
        """JSON bytes of a statement that is about to be signed for the first time."""
        return self.model_dump_json(by_alias=True).encode()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read signed bytes strictly: no duplicate key, no unknown field, no coercion.

        Raises
        ------
        MalformedError
            Says which field is wrong and how; never a field's value.
        """
        refuse_duplicate_keys(payload, what=f"{cls.name()} statement")
        try:
            statement = cls.model_validate_json(payload)
        except ValidationError as error:
            raise malformed(f"{cls.name()} statement", error) from None
        if "schema_" not in statement.model_fields_set:
            raise MalformedError(
                f"{cls.name()} statement",
                got="no schema",
                expected=str(cls.model_fields["schema_"].default),
                do="ask its author to correct it",
            )
        return statement


def malformed(what: str, error: ValidationError) -> MalformedError:
    """Say where and how `what` misses its schema, without the value that stood there."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:_LONGEST_PLACE] or "the whole"
    unknown = first["type"] == "extra_forbidden"
    return MalformedError(
        what,
        got=f"an unknown field {place!r}"
        if unknown
        else f"{_lower_first(first['msg'])} at {place!r}",
        expected="the fields of its schema and no others",
        do="ask its author to correct it",
    )


def refuse_duplicate_keys(payload: bytes, *, what: str) -> None:
    """Raise MalformedError if a JSON object in `payload` holds a key twice, or is no JSON."""

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held = dict(pairs)
        if len(held) != len(pairs):
            message = "duplicate key"
            raise ValueError(message)
        return held

    try:
        json.loads(payload, object_pairs_hook=checked)
    except (ValueError, RecursionError):
        # Both come from the parser alone; its text could quote the payload, so it is dropped.
        raise MalformedError(
            what,
            got="bytes that are no JSON, or an object with a key twice",
            expected="JSON with each key once",
            do="ask its author to send it again",
        ) from None


class LedgerHead(Parsed):
    """Where a site's ledger stands: `head` holds 32 random bytes' worth of hash, nothing else."""

    sequence: int = Field(ge=0)
    head: Sha256


RegionName = Annotated[str, StringConstraints(pattern=r"^\p{L}[\p{L}\p{M}0-9 .'()-]{0,63}$")]
"""Letters first: no spreadsheet takes it for a formula."""


class Catchment(Parsed):
    """Whom a site's scans could be of, as a person declared it: public, never counted.

    Attributes
    ----------
    population_reached : int
        People whom the site serves: of whom a scan that is known to be the site's could be.
    region : str or None
        Name of the region that the site lies in; sites of one region share it.
    """

    population_reached: int = Field(ge=1, le=LARGEST_POPULATION)
    region: RegionName | None = None


class Decision(Statement):
    """A role at a site approved, declined or withdrew one study digest; never a person's name.

    Attributes
    ----------
    declared_people : int or None
        The size in the policy that was in force: the release must declare the same one.
    """

    payload_type = "application/vnd.reidscope.decision+json"
    schema_: Literal["reidscope.decision/1.0"] = Field("reidscope.decision/1.0", alias="schema")
    study_sha256: Sha256
    site: SiteName
    verdict: Verdict
    reason: DecisionReason
    role: Line
    package_version: Line
    package_sha256: Sha256
    policy_sha256: Sha256
    nonce: Nonce
    declared_people: int | None = Field(default=None, ge=1, le=LARGEST_SITE)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


Count = Annotated[int, Field(ge=-_LARGEST_COUNT, le=_LARGEST_COUNT)]


class ReleasedTable(Parsed):
    """One table after noise.

    Attributes
    ----------
    counts : tuple of int
        Noisy counts, one a cell in the study's order; negative ones are left as they are.
    epsilon_nano : int
        Charged to the ledger, nano-epsilon.
    mechanism : str
        OpenDP's own description of the measurement that drew the noise.
    """

    table: Line
    counts: tuple[Count, ...] = Field(max_length=5000)
    epsilon_nano: int = Field(gt=0, le=LARGEST_NANO)
    mechanism: Literal["discrete-laplace"]
    scale: Line


class Release(Statement):
    """A site's noisy tables for one study: the only numbers about people that ever leave.

    Attributes
    ----------
    declared_people : int
        The size that the site's policy declares, typed by a person.
    catchment : Catchment or None
        What the same policy says of the people whom the site serves; None where it says nothing.
    """

    payload_type = "application/vnd.reidscope.release+json"
    schema_: Literal["reidscope.release/1.0"] = Field("reidscope.release/1.0", alias="schema")
    study_sha256: Sha256
    site: SiteName
    tables: tuple[ReleasedTable, ...] = Field(min_length=1, max_length=50)
    declared_people: int = Field(ge=1, le=LARGEST_SITE)
    ledger: LedgerHead
    versions: dict[Line, Line] = Field(max_length=50)
    catchment: Catchment | None = None


class Receipt(Statement):
    """The coordinator has seen this ledger head; `counter` grows with every receipt to a site."""

    payload_type = "application/vnd.reidscope.receipt+json"
    schema_: Literal["reidscope.receipt/1.0"] = Field("reidscope.receipt/1.0", alias="schema")
    study_sha256: Sha256
    site: SiteName
    ledger: LedgerHead
    counter: int = Field(ge=1)
