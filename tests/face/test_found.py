"""Found at N: the class a person falls into."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.errors import InvariantError
from reidscope_site.face.found import Comparison, chance_at, chance_first, coin, found_at

ANCHORS = (10, 100, 1000)


@given(st.integers(2, 300), st.data())
def test_chance_first_is_the_hypergeometric_share(reference: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, reference))
    n = data.draw(st.integers(2, reference + 1))
    exact = comb(reference - k, n - 1) / comb(reference, n - 1)
    assert abs(chance_first(k, gallery_size=n, reference_size=reference) - exact) < 1e-9


@given(st.integers(0, 10_000), st.floats(1e-9, 1.0))
def test_a_person_whom_more_faces_beat_is_never_found_in_a_larger_gallery(k: int, u: float) -> None:
    def found(better: int) -> int:
        comparison = Comparison(better=better, equal=0, reference_size=10_001)
        return found_at(comparison, ANCHORS, coin=u)

    assert found(k + 1) <= found(k)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(1e-9, 1.0), st.floats(1e-9, 1.0))
def test_a_luckier_coin_never_loses_a_person(k: int, ties: int, u: float, v: float) -> None:
    comparison = Comparison(better=k, equal=ties, reference_size=1000)
    lucky, unlucky = sorted((u, v))
    assert found_at(comparison, ANCHORS, coin=unlucky) <= found_at(comparison, ANCHORS, coin=lucky)


def test_the_share_found_is_the_chance_itself() -> None:
    people = [coin(b"k" * 32, pseudonym=f"p{i}", study_sha256="s") for i in range(20_000)]
    comparison = Comparison(better=30, equal=0, reference_size=10_000)
    share = sum(found_at(comparison, ANCHORS, coin=u) >= 100 for u in people) / len(people)
    # 5 standard errors of a share of 20,000; the coins are fixed, so it passes always or never
    assert abs(share - chance_first(30, gallery_size=100, reference_size=10_000)) < 0.016


def test_ties_are_charged_neither_for_nor_against() -> None:
    tied = Comparison(better=0, equal=99, reference_size=999)
    average = sum(chance_first(k, gallery_size=10, reference_size=999) for k in range(100)) / 100
    assert abs(chance_at(tied, 10) - average) < 1e-12
    assert chance_first(99, gallery_size=10, reference_size=999) < chance_at(tied, 10) < 1


def test_whoever_beats_everybody_is_found_at_every_anchor_with_every_coin() -> None:
    best = Comparison(better=0, equal=0, reference_size=1000)
    assert found_at(best, ANCHORS, coin=1.0) == 1000


def test_whom_everybody_beats_is_found_nowhere() -> None:
    worst = Comparison(better=1000, equal=0, reference_size=1000)
    assert found_at(worst, ANCHORS, coin=2**-64) == 0


def test_the_coin_of_one_person_differs_between_studies_and_keys() -> None:
    seen = {
        coin(key, pseudonym="p", study_sha256=study)
        for key in (b"a" * 32, b"b" * 32)
        for study in ("s", "t")
    }
    assert len(seen) == 4


@given(st.binary(min_size=1, max_size=32), st.text(max_size=20), st.text(max_size=64))
def test_a_coin_is_above_nought_and_at_most_one(key: bytes, person: str, study: str) -> None:
    tossed = coin(key, pseudonym=person, study_sha256=study)
    assert 0 < tossed <= 1
    assert tossed == coin(key, pseudonym=person, study_sha256=study)


@pytest.mark.parametrize(("better", "equal"), [(-1, 0), (0, -1), (6, 5), (11, 0)])
def test_counts_that_no_gallery_can_have_produced_are_refused(better: int, equal: int) -> None:
    with pytest.raises(InvariantError) as refusal:
        Comparison(better=better, equal=equal, reference_size=10)
    assert "within 10" in str(refusal.value)
