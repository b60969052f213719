"""Cohorts and groups as a signed study fixes them: predicates on one person, disjoint groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reidscope_protocols.cells import NOT_ACQUIRED, JointCells, acquired, found_in, weights
from reidscope_protocols.cohort import AgeRange, Cohort, Modality, Sample, Sex, YearRange
from reidscope_protocols.errors import MalformedError
from reidscope_protocols.groups import MOST_GROUPS, GroupedBy, Groups, cells_of
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Mate

CELLS = JointCells(anchors=(100, 1000), defacers=("blur", "quickshear"))
BY_SEX = Groups(by=GroupedBy.SEX, values=("F", "M"))
BY_AGE = Groups(
    by=GroupedBy.AGE,
    ages=(AgeRange(low=18, high=39), AgeRange(low=40, high=64), AgeRange(low=65)),
)
EVERY_CONDITION = Cohort(
    rule="everyone-who-meets",
    sexes=(Sex.FEMALE, Sex.OTHER),
    ages=AgeRange(low=18, high=89),
    modalities=(Modality.MR,),
    years=YearRange(low=2015, high=2024),
    mates=(Mate.SECOND_SCAN,),
    sample=Sample(share_ppm=500_000, salt="wave-1"),
)

BAD_COHORTS: dict[str, dict[str, Any]] = {
    "conditions of everybody": {"rule": "everyone-indexed", "sexes": ["F"]},
    "no condition": {"rule": "everyone-who-meets"},
    "another rule": {"rule": "latest-84"},
    "a sex twice": {"rule": "everyone-who-meets", "sexes": ["F", "F"]},
    "an unknown sex": {"rule": "everyone-who-meets", "sexes": ["X"]},
    "an age of one year": {"rule": "everyone-who-meets", "ages": {"low": 47, "high": 47}},
    "four ages": {"rule": "everyone-who-meets", "ages": {"low": 40, "high": 43}},
    "ages turned round": {"rule": "everyone-who-meets", "ages": {"low": 60, "high": 20}},
    "the very old": {"rule": "everyone-who-meets", "ages": {"low": 91, "high": None}},
    "an end among the old": {"rule": "everyone-who-meets", "ages": {"low": 80, "high": 95}},
    "a negative age": {"rule": "everyone-who-meets", "ages": {"low": -1, "high": 20}},
    "half an age": {"rule": "everyone-who-meets", "ages": {"low": 1.5, "high": 20}},
    "years turned round": {"rule": "everyone-who-meets", "years": {"low": 2020, "high": 2010}},
    "a sample of a few": {
        "rule": "everyone-who-meets",
        "sample": {"share_ppm": 10, "salt": "a"},
    },
    "a sample of all": {
        "rule": "everyone-who-meets",
        "sample": {"share_ppm": 1_000_000, "salt": "a"},
    },
    "a sample without salt": {
        "rule": "everyone-who-meets",
        "sample": {"share_ppm": 500_000, "salt": ""},
    },
    "an unknown word": {"rule": "everyone-who-meets", "patient": "7"},
}


def changed(study: Study, **fields: Any) -> bytes:
    said = study.model_dump(mode="json", by_alias=True) | fields
    return Study.model_validate_json(json.dumps(said)).payload()


@pytest.mark.parametrize("what", BAD_COHORTS)
def test_a_cohort_that_compares_counts_or_singles_out_is_no_study(
    make_study: Callable[..., Study], what: str
) -> None:
    with pytest.raises(ValidationError):
        changed(make_study(), cohort=BAD_COHORTS[what])


def test_a_cohort_and_groups_pass_through_a_signed_studys_bytes(
    make_study: Callable[..., Study],
) -> None:
    study = make_study(asked={"groups": BY_AGE}, cohort=EVERY_CONDITION)
    again = Study.parse(study.payload())
    assert again == study
    assert again.cohort == EVERY_CONDITION
    assert again.experiment.groups == BY_AGE


def test_an_older_study_without_conditions_or_groups_still_parses(
    make_study: Callable[..., Study],
) -> None:
    said = make_study().model_dump(mode="json", by_alias=True)
    said["cohort"] = {"rule": "everyone-indexed"}
    del said["experiment"]["groups"]
    study = Study.parse(json.dumps(said).encode())
    assert study.cohort == Cohort()
    assert study.joint_table.cells == study.experiment.cells().labels


def test_a_study_must_ask_for_the_crossed_cells(make_study: Callable[..., Study]) -> None:
    said = make_study(asked={"groups": BY_SEX}).model_dump(mode="json", by_alias=True)
    said["tables"][0]["cells"] = list(make_study().joint_table.cells)
    with pytest.raises(MalformedError):
        Study.parse(json.dumps(said).encode())


@pytest.mark.parametrize(
    "said",
    [
        {"by": GroupedBy.SEX, "values": ()},
        {"by": GroupedBy.SEX, "values": ("F", "F")},
        {"by": GroupedBy.SEX, "values": ("F", "X")},
        {"by": GroupedBy.SEX, "values": ("F", "other")},
        {"by": GroupedBy.SEX, "values": ("F",), "ages": (AgeRange(low=5, high=20),)},
        {"by": GroupedBy.MODALITY, "values": ("US",)},
        {"by": GroupedBy.GROUP, "values": ("a;b",)},
        {"by": GroupedBy.GROUP, "values": ("a=b",)},
        {"by": GroupedBy.GROUP, "values": ("=cmd",)},
        {"by": GroupedBy.GROUP, "values": tuple(f"g{n}" for n in range(MOST_GROUPS + 1))},
        {"by": GroupedBy.AGE},
        {"by": GroupedBy.AGE, "values": ("18-39",)},
        {"by": GroupedBy.AGE, "ages": (AgeRange(low=18, high=40), AgeRange(low=40, high=60))},
        {"by": GroupedBy.AGE, "ages": (AgeRange(low=40, high=60), AgeRange(low=18, high=30))},
        {"by": GroupedBy.AGE, "ages": (AgeRange(low=18), AgeRange(low=60, high=80))},
    ],
)
def test_groups_that_overlap_repeat_or_do_not_exist_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Groups(**said)


def test_an_arm_may_not_have_the_groups_name_and_a_table_has_a_limit(
    make_study: Callable[..., Study],
) -> None:
    with pytest.raises(ValidationError, match="groups' name"):
        make_study(arms=("unmodified", "sex"), asked={"groups": BY_SEX})
    eight = ("unmodified", *(f"a{n}" for n in range(8)))
    many = Groups(by=GroupedBy.GROUP, values=tuple(f"g{n}" for n in range(MOST_GROUPS)))
    with pytest.raises(ValidationError, match="at most 4096"):
        make_study(arms=eight, asked={"groups": many})


@given(value=st.one_of(st.none(), st.integers(-5, 130), st.text(max_size=5), st.just("F")))
def test_everybody_is_of_exactly_one_group_whatever_is_known_of_them(
    value: str | int | None,
) -> None:
    for groups in (BY_SEX, BY_AGE):
        assert 0 <= groups.place(value) < len(groups.labels)
    if isinstance(value, int):
        held = [ages.holds(value) for ages in BY_AGE.ages]
        assert sum(held) <= 1
        assert BY_AGE.place(value) == (held.index(True) if any(held) else 3)
    assert BY_SEX.place(value) == {"F": 0, "M": 1}.get(str(value), 2)


def test_a_crossed_table_says_the_group_first_and_reads_as_before() -> None:
    labels = BY_SEX.crossed(CELLS.labels)
    assert labels[0] == "sex=F;unmodified=0;blur=no;quickshear=no"
    assert labels[len(CELLS) - 1] == f"sex=F;{NOT_ACQUIRED}"
    assert labels[-1] == f"sex=other;{NOT_ACQUIRED}"
    assert len(set(labels)) == len(labels) == 3 * len(CELLS)
    for arm, size in product(("unmodified", "blur", "quickshear"), (100, 1000)):
        assert weights(labels, arm=arm, gallery_size=size) == 3 * weights(
            CELLS.labels, arm=arm, gallery_size=size
        )
    assert [acquired(label) for label in labels] == 3 * [
        label != NOT_ACQUIRED for label in CELLS.labels
    ]
    assert not found_in(f"sex=F;{NOT_ACQUIRED}", arm="blur", gallery_size=100)


def test_a_groups_cells_are_its_own_and_together_all() -> None:
    labels = BY_AGE.crossed(CELLS.labels)
    parts = [cells_of(labels, group) for group in BY_AGE.labels]
    assert sorted(place for part in parts for place in part) == list(range(len(labels)))
    assert {len(part) for part in parts} == {len(CELLS)}


@pytest.mark.parametrize(
    ("low", "high", "inside", "outside"),
    [(18, 39, (18, 39), (17, 40, None)), (65, None, (65, 90), (64, None))],
)
def test_a_range_of_ages_holds_both_ends_and_no_unknown_age(
    low: int, high: int | None, inside: tuple[int, ...], outside: tuple[int | None, ...]
) -> None:
    ages = AgeRange(low=low, high=high)
    assert all(ages.holds(age) for age in inside)
    assert not any(ages.holds(age) for age in outside)


def test_every_condition_is_said_in_plain_words() -> None:
    said = str(EVERY_CONDITION)
    for word in ("sex F or O", "aged 18 to 89", "MR", "2015 to 2024", "second scan", "50%"):
        assert word in said
    assert str(Cohort()) == "everybody of the index"
