"""Faces marked by hand: what is kept, what is refused, and what a mark changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid.keys import SiteKey
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    ConsentMissingError,
    InputError,
    InvariantError,
    PolicyRefusalError,
)
from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.agent import Agent
from reidscope_site.face.describe import describe_photo
from reidscope_site.face.detect import LONGEST_PX, fit
from reidscope_site.face.photo import looked_at, read_photo
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.template import template
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.review.making import short_names
from reidscope_site.review.marks import (
    Mark,
    boxes_of,
    keep_marks,
    read_marks,
    refuse_after_matching,
)
from reidscope_site.snapshot import Person, PhotoBox
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.seeds import PersonSeed, Population

WIDTH, HEIGHT = 300, 200
BOX = (20, 30, 120, 150)
RENDERS = Renders()


def size_of(_: Path) -> tuple[int, int]:
    return WIDTH, HEIGHT


def renamed(people: tuple[Person, ...]) -> tuple[Person, ...]:
    return tuple(
        replace(person, pseudonym=f"P-{'ABCDE'[number]}BCDEFGHIJ")
        for number, person in enumerate(people)
    )


@pytest.fixture
def indexed(agent: Agent, people: tuple[Person, ...]) -> tuple[Person, ...]:
    """Five people in the snapshot, the last without a photo."""
    named = renamed(people)
    named = (*named[:4], replace(named[4], photo=None))
    agent.snapshot.freeze(named, agent.site_key)
    return named


@pytest.fixture
def study(agent: Agent, coordinator: Any, make_study: Callable[..., Study]) -> Opened[Study]:
    received: Opened[Study] = agent.studies.receive(coordinator.sign(make_study()))
    return received


def line(person: str = "P-ABCDEF", **changes: Any) -> bytes:
    fields = {"person": person, "box": BOX, "photo": (WIDTH, HEIGHT), **changes}
    return json.dumps(fields).encode() + b"\n"


def marks(*lines: bytes) -> tuple[Mark, ...]:
    return read_marks(b"".join(lines))


def boxes(agent: Agent) -> dict[str, PhotoBox | None]:
    return {person.pseudonym: person.photo_box for person in agent.snapshot.people()}


def approve(agent: Agent, study: Opened[Study]) -> None:
    agent.decide(
        study.sha256,
        Verdict.APPROVED,
        role="data protection officer",
        reason=DecisionReason.REVIEWED,
    )


def test_a_mark_is_kept_with_its_person_and_changes_the_digest(
    agent: Agent, indexed: tuple[Person, ...]
) -> None:
    before = agent.snapshot.digest()
    told = keep_marks(agent, marks(line(), line("P-BBCDEFGHIJ")), size_of)
    assert (told.kept, told.taken_back) == (2, 0)
    assert [boxes(agent)[person.pseudonym] for person in indexed] == [BOX, BOX, None, None, None]
    assert agent.snapshot.digest() != before
    assert agent.snapshot.found_again(agent.site_key) == agent.snapshot.digest()
    assert [entry.event for entry in agent.journal.entries()][-1] == "faces marked by hand"


@pytest.mark.usefixtures("indexed")
def test_a_mark_that_is_taken_back_leaves_the_digest_as_it_was(agent: Agent) -> None:
    before = agent.snapshot.digest()
    keep_marks(agent, marks(line()), size_of)
    assert keep_marks(agent, marks(line(box=None)), size_of).taken_back == 1
    assert agent.snapshot.digest() == before
    assert set(boxes(agent).values()) == {None}


def test_a_mark_stays_over_a_new_index_until_its_photo_changes(
    agent: Agent, indexed: tuple[Person, ...]
) -> None:
    keep_marks(agent, marks(line(), line("P-BBCDEF"), line("P-CBCDEF")), size_of)
    changed = indexed[1].photo
    assert changed is not None
    found = changed.stat()
    os.utime(changed, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    agent.snapshot.freeze(indexed[:2], agent.site_key)
    assert list(boxes(agent).values()) == [BOX, None]
    agent.snapshot.freeze(indexed, agent.site_key)
    assert list(boxes(agent).values()) == [BOX, None, None, None, None]


@pytest.mark.usefixtures("indexed")
def test_no_mark_is_taken_once_a_study_is_approved_until_it_is_withdrawn(
    agent: Agent, study: Opened[Study]
) -> None:
    approve(agent, study)
    before = agent.snapshot.digest()
    with pytest.raises(PolicyRefusalError, match="approved study"):
        keep_marks(agent, marks(line()), size_of)
    assert agent.snapshot.digest() == before
    agent.decide(
        study.sha256,
        Verdict.WITHDRAWN,
        role="data protection officer",
        reason=DecisionReason.OTHER,
    )
    keep_marks(agent, marks(line()), size_of)


@pytest.mark.usefixtures("indexed")
def test_no_mark_is_taken_once_anybody_was_evaluated(agent: Agent, study: Opened[Study]) -> None:
    Outcomes(agent.connection, agent.site_key, study.sha256).keep("P-X", Outcome(cells=(0, 0)))
    for refusing in (
        lambda: keep_marks(agent, marks(line()), size_of),
        lambda: refuse_after_matching(agent),
    ):
        with pytest.raises(PolicyRefusalError, match="before matching starts"):
            refusing()
    assert set(boxes(agent).values()) == {None}


@pytest.mark.usefixtures("indexed")
def test_a_study_that_ended_does_not_close_marks_for_ever(
    agent: Agent, study: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(agent, study)
    Outcomes(agent.connection, agent.site_key, study.sha256).keep("P-X", Outcome(cells=(0, 0)))

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=31)

    monkeypatch.setattr("reidscope_site.review.marks.datetime", Later)
    assert keep_marks(agent, marks(line()), size_of).kept == 1


def test_a_mark_behind_the_verbs_back_voids_the_approval(
    agent: Agent, study: Opened[Study], indexed: tuple[Person, ...]
) -> None:
    approve(agent, study)
    agent.snapshot.mark({indexed[0].pseudonym: BOX}, agent.site_key)
    with pytest.raises(ConsentMissingError, match="index"):
        agent.consent.require(
            study,
            policy=agent.policy,
            snapshot_digest=agent.snapshot.found_again(agent.site_key),
        )


BAD: Mapping[str, tuple[bytes, str]] = {
    "nobody": (line("P-ZZZZZZ"), "nobody"),
    "too short": (line("P-A"), "person"),
    "no photo": (line("P-EBCDEF"), "without a photo"),
    "twice": (line() + line("P-ABCDEFGHIJ"), "earlier line"),
    "beyond the right": (line(box=(250, 30, 301, 150)), "inside"),
    "below": (line(box=(20, 150, 120, 201)), "inside"),
    "turned round": (line(box=(120, 30, 20, 150)), "pixels"),
    "tiny": (line(box=(20, 30, 35, 150)), "pixels"),
    "other photo": (line(photo=(HEIGHT, WIDTH)), "another size"),
    "negative": (line(box=(-1, 30, 120, 150)), "box"),
    "fractions": (line(box=(1.5, 30, 120, 150)), "box"),
    "three corners": (line(box=(1, 30, 120)), "box"),
    "no box": (b'{"person":"P-ABCDEF","photo":[300,200]}', "box"),
    "more": (line(name="Doe^Jane"), "name"),
    "no JSON": (b'{"person":"Doe^Jane"', "JSON"),
    "no text": (b"\xff\xfe\x00", ""),
    "a list": (b"[]", ""),
    "empty": (b"\n\n", "without a line"),
    "endless": (b" " * ((1 << 20) + 1), "1 MiB"),
}


@pytest.mark.usefixtures("indexed")
@pytest.mark.parametrize("name", BAD)
def test_a_file_with_one_bad_mark_is_refused_as_a_whole_and_by_its_line(
    agent: Agent, name: str
) -> None:
    content, word = BAD[name]
    good = line("P-DBCDEF")
    with pytest.raises(InputError) as caught:
        keep_marks(agent, read_marks(good + content if content.strip() else content), size_of)
    said = str(caught.value)
    assert word in said
    assert not any(
        secret in said for secret in ("Doe", "P-A", "P-E", "P-Z", "301", str(agent.home))
    )
    assert set(boxes(agent).values()) == {None}


def test_the_beginning_of_two_pseudonyms_names_nobody(tmp_path: Path) -> None:
    from tests.site.conftest import one_scan  # noqa: PLC0415  # shared with the fixtures alone

    twins = tuple(
        Person(pseudonym=name, scans=(one_scan(tmp_path),), photo=tmp_path)
        for name in ("P-SAMESAME1", "P-SAMESAME2")
    )
    with pytest.raises(InputError, match="several people"):
        boxes_of(marks(line("P-SAMESAME")), twins, size_of)
    names = short_names(twins)
    assert list(names.values()) == ["P-SAMESAME1", "P-SAMESAME2"]
    assert boxes_of(marks(line(names["P-SAMESAME2"])), twins, size_of) == {"P-SAMESAME2": BOX}


def test_the_snapshot_takes_no_mark_of_a_stranger(
    agent: Agent, indexed: tuple[Person, ...]
) -> None:
    before = agent.snapshot.digest()
    for stranger in ("P-NOBODY", indexed[4].pseudonym):
        with pytest.raises(InvariantError):
            agent.snapshot.mark({indexed[0].pseudonym: BOX, stranger: BOX}, agent.site_key)
    assert agent.snapshot.digest() == before
    assert set(boxes(agent).values()) == {None}


@given(
    width=st.integers(16, 900),
    height=st.integers(16, 900),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_any_box_of_a_photo_gives_a_picture_that_can_be_looked_at(
    width: int, height: int, corners: tuple[float, float, float, float]
) -> None:
    left, right = sorted(round(corner * (width - 16)) for corner in corners[:2])
    top, bottom = sorted(round(corner * (height - 16)) for corner in corners[2:])
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top : bottom + 16, left : right + 16] = 255
    seen = looked_at(pixels, (left, top, right + 16, bottom + 16))
    assert seen.dtype == np.uint8
    assert 16 <= max(seen.shape[:2]) <= LONGEST_PX
    rows, columns = seen.shape[:2]
    assert seen[rows // 2, columns // 2].min() > 200
    assert np.array_equal(looked_at(pixels, None), fit(pixels))


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    weights = installed_model_bytes()
    return Recogniser.from_bytes(detector=weights.detector, recogniser=weights.recogniser)


@pytest.fixture(scope="module")
def portraits() -> list[np.ndarray]:
    head = template()
    return [
        photo(PersonSeed(population=Population.SITE, label="marks", number=number), head)
        for number in range(2)
    ]


def alike(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.ravel(), other.ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("which", [0, 1])
def test_a_photo_of_two_is_nobodys_until_one_of_them_is_marked(
    recogniser: Recogniser, portraits: list[np.ndarray], which: int
) -> None:
    both = np.concatenate(portraits, axis=1)
    assert describe_photo(looked_at(both, None), recogniser, RENDERS) is None
    box = (256 * which + 60, 30, 256 * which + 200, 225)
    marked = describe_photo(looked_at(both, box), recogniser, RENDERS, marked=True)
    assert marked is not None
    own, others = (
        describe_photo(portraits[number], recogniser, RENDERS) for number in (which, 1 - which)
    )
    assert own is not None
    assert others is not None
    assert alike(marked.values, own.values) > 0.85
    assert alike(marked.values, own.values) > alike(marked.values, others.values) + 0.2


def test_a_small_face_of_a_large_photo_is_found_where_it_is_marked(
    recogniser: Recogniser, portraits: list[np.ndarray], tmp_path: Path
) -> None:
    large = np.full((1500, 2400, 3), 120, np.uint8)
    large[600:690, 1300:1390] = cv2.resize(portraits[0], (90, 90), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "large.png"), large[:, :, ::-1])
    read = read_photo(tmp_path / "large.png")
    assert read is not None
    assert describe_photo(looked_at(read, None), recogniser, RENDERS) is None
    box = (1315, 610, 1375, 680)
    assert describe_photo(looked_at(read, box), recogniser, RENDERS, marked=True) is not None


def test_a_mark_where_no_face_is_finds_none(recogniser: Recogniser) -> None:
    empty = np.full((300, 300, 3), 120, np.uint8)
    box = (50, 50, 200, 200)
    assert describe_photo(looked_at(empty, box), recogniser, RENDERS, marked=True) is None


def test_the_digest_of_a_mark_is_keyed(agent: Agent, indexed: tuple[Person, ...]) -> None:
    names = {indexed[0].pseudonym: BOX}
    one = agent.snapshot.mark(names, agent.site_key)
    assert one != agent.snapshot.mark(names, SiteKey(b"k" * 32))
    assert one == agent.snapshot.mark(names, agent.site_key)
