"""Cohorts and groups as people type them; rules that are never offered are refused with why."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.cohort import AgeRange, Cohort, Modality, Sample, Sex, YearRange
from reidscope_protocols.errors import UnsupportedError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.vocabulary import Mate
from reidscope_server.cohort_words import cohort, groups

COMPARES = "whether a person counts would depend on who else is there"
COUNTS = "a TRUE count"
SINGLES = "a cohort of one"
OUTCOMES = "before any outcome exists"
AGES = "can single one person out"

REFUSED = {
    "latest 84": COMPARES,
    "the latest 84 patients": COMPARES,
    "most recent scans": COMPARES,
    "first 100 people": COMPARES,
    "100 people": COMPARES,
    "oldest 10": COMPARES,
    "youngest half": COMPARES,
    "top 5%": COMPARES,
    "matched controls": COMPARES,
    "age matched": COMPARES,
    "one control for each case": COMPARES,
    "above the median age": COMPARES,
    "random 50": COMPARES,
    "every second patient": COMPARES,
    "without duplicates": COMPARES,
    "no siblings": COMPARES,
    "balanced by sex": COMPARES,
    "sex F balanced": COMPARES,
    "merge small groups": COUNTS,
    "if fewer than 20 people": COUNTS,
    "at least 20 people": COUNTS,
    "minimum 50": COUNTS,
    "not rare": COUNTS,
    "id 4711": SINGLES,
    "PatientID=4711": SINGLES,
    "pseudonym P-17": SINGLES,
    "name Doe": SINGLES,
    "born 1950-03-01": SINGLES,
    "birth date 19500301": SINGLES,
    "scanned on 2020-01-01": SINGLES,
    "year 2020-01-01": SINGLES,
    "date 20200101": SINGLES,
    "month 3": SINGLES,
    "accession number 12": SINGLES,
    "sub-01": SINGLES,
    "all but one": SINGLES,
    "everybody except the chief physician": SINGLES,
    "age 47": AGES,
    "age 47-47": AGES,
    "age 40-43": AGES,
    "age 95+": AGES,
    "age 85-99": AGES,
    "found at 100": OUTCOMES,
    "acquired": OUTCOMES,
    "gates passed": OUTCOMES,
    "good quality": OUTCOMES,
}


@pytest.mark.parametrize("typed", REFUSED)
def test_a_rule_that_is_never_offered_is_refused_with_the_reason(typed: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        cohort(typed, salt="s")
    assert REFUSED[typed] in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "typed",
    ["Smith", "sex", "sex X", "modality US", "colour red", "sex F, Q", "with photo or second-scan"],
)
def test_an_unknown_word_is_refused_with_what_is_offered_and_never_repeated(typed: str) -> None:
    with pytest.raises(UnsupportedError, match="`age 18-89`") as caught:
        cohort(typed, salt="s")
    assert "Smith" not in str(caught.value)
    assert "colour" not in str(caught.value)


def test_the_condition_that_is_wrong_is_counted() -> None:
    with pytest.raises(UnsupportedError, match="condition 2"):
        cohort("sex F, latest 84", salt="s")


@pytest.mark.parametrize("typed", ["sex F, sex M", "age 18-40, age 50-60"])
def test_a_condition_stands_once(typed: str) -> None:
    with pytest.raises(UnsupportedError, match="before"):
        cohort(typed, salt="s")


def test_conditions_are_read_in_any_usual_spelling() -> None:
    wanted = Cohort(
        rule="everyone-who-meets",
        sexes=(Sex.FEMALE,),
        ages=AgeRange(low=18, high=89),
        modalities=(Modality.MR, Modality.CT),
        years=YearRange(low=2015),
        mates=(Mate.PHOTO, Mate.SECOND_SCAN),
        sample=Sample(share_ppm=125_000, salt="wave-1"),
    )
    for typed in (
        "sex F, age 18-89, modality MR/CT, year 2015+, with photo, with second-scan",
        (
            "Sex=female; aged 18 to 89 years; modality: mr or ct; years 2015+; "
            "has a photo; has a second scan"
        ),
        "sex f and age 18..89 and modality MR|CT and year 2015+ and with photo and has second-scan",
    ):
        assert cohort(typed, sample="12.5%", salt="wave-1") == wanted
    assert cohort("", salt="s") == cohort("everyone", salt="s") == Cohort()
    assert cohort("year 2019", salt="s").years == YearRange(low=2019, high=2019)


@pytest.mark.parametrize("share", ["84", "0%", "100%", "0.5%", "half", "-5%", "1e1%", "50 people"])
def test_a_sample_is_a_share_and_never_a_number_of_people(share: str) -> None:
    with pytest.raises(UnsupportedError, match="pushes another out"):
        cohort("", sample=share, salt="s")


@pytest.mark.parametrize("salt", ["", "Wave 1", "x" * 65, "a;b"])
def test_a_salt_is_a_short_name(salt: str) -> None:
    with pytest.raises(UnsupportedError, match="--sample-salt"):
        cohort("", sample="50%", salt=salt)


def test_a_word_twice_is_one_word() -> None:
    assert cohort("sex F/female", salt="s").sexes == (Sex.FEMALE,)
    with pytest.raises(UnsupportedError, match="condition 2"):
        cohort("with photo, with a photo", salt="s")


@given(typed=st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_whatever_is_typed_is_a_cohort_or_a_refusal(typed: str) -> None:
    for read in (lambda: cohort(typed, salt="s"), lambda: groups(typed)):
        with contextlib.suppress(UnsupportedError):
            read()


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["sex", "age", "aged", "modality", "year", "with", "has", "group"]),
            st.sampled_from(
                ["F", "18-89", "65+", "MR/CT", "2015", "99999-1", "photo", "", "-", "=", "9" * 30]
            ),
        ),
        max_size=4,
    )
)
def test_whatever_is_put_together_is_a_cohort_or_a_refusal(parts: list[tuple[str, str]]) -> None:
    typed = ", ".join(" ".join(part) for part in parts)
    for read in (lambda: cohort(typed, sample="5%", salt="s"), lambda: groups(typed)):
        with contextlib.suppress(UnsupportedError):
            read()


def test_groups_are_read_in_any_usual_spelling() -> None:
    assert groups("") is None
    assert groups("sex") == groups("sex F,M") == Groups(by=GroupedBy.SEX, values=("F", "M"))
    assert groups("sex:f/m/o") == Groups(by=GroupedBy.SEX, values=("F", "M", "O"))
    assert groups("modality") == Groups(by=GroupedBy.MODALITY, values=("MR", "CT"))
    wanted = Groups(by=GroupedBy.GROUP, values=("left", "right"))
    assert groups("group left, right") == groups("group: left/right") == wanted
    ages = (AgeRange(low=0, high=39), AgeRange(low=40, high=64), AgeRange(low=65))
    assert groups("age 0-39,40-64,65+") == Groups(by=GroupedBy.AGE, ages=ages)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("merge those below 20", COUNTS),
        ("quartiles of age", COMPARES),
        ("name", SINGLES),
        ("pseudonym", SINGLES),
        ("found", OUTCOMES),
        ("age 18-39,39-60", "share no age"),
        ("age 18-20,40-60", AGES),
        ("age", "groups must list"),
        ("group", "groups must list"),
        ("group left,left", "different ones"),
        ("group left,other", "none of them other"),
        ("sex F,X", "values that the attribute has"),
        ("colour red,blue", "`sex`"),
    ],
)
def test_groups_that_are_not_offered_are_refused_with_the_reason(typed: str, why: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        groups(typed)
    assert why in str(caught.value)
