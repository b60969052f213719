"""A record as `run --report` wrote it, read back strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_protocols.errors import MalformedError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 64 << 20  # bytes
_Text = Annotated[str, StringConstraints(max_length=200)]
_Uid = Annotated[str, StringConstraints(pattern=r"^[0-9.]{1,64}$")]
_Count = Annotated[int, Field(ge=0)]


class _Parsed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DoneRow(_Parsed):
    """What was done with one attribute."""

    tag: _Text
    name: _Text
    action: _Text
    count: _Count
    source: _Text


class StandingRow(_Parsed):
    """One attribute that the outputs hold."""

    tag: _Text
    name: _Text
    action: _Text
    files: _Count
    why: _Text


class Files(_Parsed):
    """Files by what became of them."""

    written: _Count
    duplicates: _Count
    left_out: dict[_Text, _Count]


class RecordFile(_Parsed):
    """The record of one run; what the profile measured of the people may stand in it too."""

    schema_name: Literal["reidscope.deid-record/2"] = Field(alias="schema")
    profile: _Text
    options: tuple[_Text, ...]
    dates: _Text
    edition: _Text
    codes: tuple[_Text, ...]
    meanings: dict[_Text, _Text]
    key: _Text
    made_by: dict[_Text, _Text]
    files: Files
    people: _Count
    review: tuple[_Uid, ...]
    elements: tuple[DoneRow, ...]
    standing: tuple[StandingRow, ...]
    risk: dict[str, object] | None = None

    def looked_at(self, code: str) -> int:
        """Files that declare one of the codes of samples."""
        return sum(one.count for one in self.elements if (one.tag, one.action) == ("pixels", code))


def expected_of(reason: str) -> str:
    """Say in words what a file that was left out should have been."""
    known = {one.value for one in Reason}
    return QuarantinedError(Reason(reason)).problem.expected if reason in known else ""


def read_record(path: Path) -> tuple[bytes, RecordFile]:
    """Exact bytes of a record's file, and the record.

    Raises
    ------
    MalformedError
        No file, or no record of this version. The message holds nothing of what it says.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise _no_record("no file that can be read") from None
    return content, parse_record(content)


def parse_record(content: bytes) -> RecordFile:
    """Parse a record's bytes.

    Raises
    ------
    MalformedError
        No record of this version.
    """
    if len(content) > LARGEST:
        raise _no_record(f"{len(content)} bytes")
    try:
        return RecordFile.model_validate_json(content)
    except ValidationError as error:
        raise _no_record(f"{error.error_count()} places of another shape") from None


def _no_record(got: str) -> MalformedError:
    return MalformedError(
        "the record",
        got=got,
        expected="what run --report wrote with this version",
        do="name that file, or run again",
    )
