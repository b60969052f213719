"""Faces marked by hand: lines of JSON from the contact sheet become boxes of the snapshot.

    {"person": "ABCDEFGH", "box": [120, 80, 310, 330], "photo": [640, 480]}

`person` is the beginning of a pseudonym, `box` is left, top, right, bottom in pixels of the upright
photo, or null to take a mark back, `photo` its width and height. All lines are kept or none.
Marks close before matching: what is looked at must not depend on what was found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reidscope_protocols.errors import InputError, PolicyRefusalError
from reidscope_protocols.statements import malformed
from reidscope_protocols.vocabulary import Verdict
from reidscope_site.agent import Agent
from reidscope_site.journal import Event
from reidscope_site.snapshot import Person, PhotoBox

SHORTEST_NAME = 8
SMALLEST_PX = 16
_LARGEST_FILE = 1 << 20
_Pixels = Annotated[int, Field(ge=0, le=100_000)]


class Mark(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    person: Annotated[str, StringConstraints(pattern=rf"^[A-Z0-9-]{{{SHORTEST_NAME},64}}$")]
    box: tuple[_Pixels, _Pixels, _Pixels, _Pixels] | None
    photo: tuple[_Pixels, _Pixels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """How many marks a file gave and took back: for the site's own terminal."""

    kept: int
    taken_back: int


def read_marks(content: bytes) -> tuple[Mark, ...]:
    """Read lines of marks; empty lines do not count.

    Raises
    ------
    InputError
        Which line is no mark, and which of its keys; never what stands there.
    """
    if len(content) > _LARGEST_FILE:
        raise _wrong("marks", "a file above 1 MiB")
    marks = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            marks.append(Mark.model_validate_json(line))
        except ValidationError as error:
            got = malformed("marks", error).problem.got
            raise _wrong(f"marks, line {number}", got) from None
    if not marks:
        raise _wrong("marks", "a file without a line")
    return tuple(marks)


def boxes_of(
    marks: Sequence[Mark],
    people: Sequence[Person],
    size_of: Callable[[Path], tuple[int, int]],
) -> Mapping[str, PhotoBox | None]:
    """Resolve marks into boxes by pseudonym.

    Raises
    ------
    InputError
        A mark names nobody, several people, or one person twice; a person without a photo; a photo
        of another size; a box outside of it or too small for a face.
    """
    boxes: dict[str, PhotoBox | None] = {}
    for number, mark in enumerate(marks, start=1):
        what = f"marks, mark {number}"
        named = [person for person in people if person.pseudonym.startswith(mark.person)]
        if len(named) != 1:
            got = "the beginning of several people's pseudonyms" if named else "nobody of the index"
            raise _wrong(what, got)
        (person,) = named
        if person.photo is None:
            raise _wrong(what, "somebody without a photo")
        if person.pseudonym in boxes:
            raise _wrong(what, "somebody who was marked in an earlier line")
        if mark.box is not None:
            width, height = size_of(person.photo)
            if (width, height) != mark.photo:
                raise _wrong(what, "a photo of another size than the page showed")
            left, top, right, bottom = mark.box
            if right > width or bottom > height:
                raise _wrong(what, "a box that is not inside the photo")
            if right - left < SMALLEST_PX or bottom - top < SMALLEST_PX:
                raise _wrong(what, f"a box of less than {SMALLEST_PX} pixels")
        boxes[person.pseudonym] = mark.box
    return boxes


def keep_marks(
    agent: Agent, marks: Sequence[Mark], size_of: Callable[[Path], tuple[int, int]]
) -> Marked:
    """Keep marks in the snapshot, whose digest is another one afterwards.

    Raises
    ------
    PolicyRefusalError
        Matching has begun, or somebody approved what is there.
    """
    refuse_after_approval(agent)
    boxes = boxes_of(marks, tuple(agent.snapshot.people()), size_of)
    agent.snapshot.mark(boxes, agent.site_key)
    agent.journal.write(Event.MARKED)
    kept = sum(box is not None for box in boxes.values())
    return Marked(kept=kept, taken_back=len(boxes) - kept)


def refuse_after_approval(agent: Agent) -> None:
    """Raise PolicyRefusalError where somebody is evaluated already, or a study waits for its run.

    Studies that ended, and those that were released, bind nobody any more.
    """
    refuse_after_matching(agent)
    for study in agent.studies.every() if agent.home.coordinator_file.exists() else ():
        if (
            agent.consent.verdict(study.sha256) is Verdict.APPROVED
            and study.statement.closes_at >= datetime.now(UTC)
            and not agent.ledger.charged(study.sha256)
        ):
            raise PolicyRefusalError(
                "marks",
                got="an approved study",
                expected="marks before anybody approves: an approval is about these photos",
                do="withdraw it (`decline --withdraw`), mark, and have it approved again",
            )


def refuse_after_matching(agent: Agent) -> None:
    """Raise PolicyRefusalError where anybody was evaluated for a study that is still open."""
    ended = (
        [
            study.sha256
            for study in agent.studies.every()
            if study.statement.closes_at < datetime.now(UTC)
        ]
        if agent.home.coordinator_file.exists()
        else []
    )
    if _evaluated(agent.connection, ended):
        raise PolicyRefusalError(
            "review",
            got="people who were evaluated for a study",
            expected="contact sheets and marks before matching starts",
            do="let the study end first: a choice made after matching could tell about its outcome",
        )


def _evaluated(connection: sqlite3.Connection, ended: Sequence[str]) -> bool:
    rows = connection.execute("SELECT DISTINCT study_sha256 FROM outcome").fetchall()
    return any(study not in ended for (study,) in rows)


def _wrong(what: str, got: str) -> InputError:
    return InputError(
        what,
        got=got,
        expected="lines as the contact sheet writes them, each of one person with a photo",
        do="copy them from the page again; nothing was kept",
    )
