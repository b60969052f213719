"""Each person falls into one cell of each opt-in table; its edges are exact whole numbers."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.server.tail_studies import an_experiment, beyond_of, scores_of

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.tail_tables import (
    ABOVE_PPM,
    PPM,
    BeyondCells,
    OpenSet,
    ScoreCells,
    Scores,
    basis,
    faces_above,
    faces_at_fmr,
    faces_at_fpir,
    weights_of_beyond,
    weights_of_scores,
)
from reidscope_protocols.vocabulary import ScanRule

RATES = st.integers(1, PPM - 1)
REFERENCES = st.integers(20, 2000)
SIZES = st.integers(2, 60)


@st.composite
def score_cells(draw: st.DrawFn) -> ScoreCells:
    size = draw(REFERENCES)
    edges = draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=6))
    galleries = draw(st.sets(SIZES, max_size=3))
    return ScoreCells(
        edges=tuple(sorted(edges)), sizes=tuple(sorted(galleries)), reference_size=size
    )


@given(score_cells(), st.data())
def test_a_person_falls_into_the_one_class_of_u_whose_label_says_so(
    cells: ScoreCells, data: st.DataObject
) -> None:
    beaten = data.draw(st.integers(0, cells.reference_size))
    found = data.draw(st.sampled_from((0, *cells.sizes, 10**6)))
    place = cells.index(beaten, found)
    assert 0 <= place < cells.not_acquired == len(cells.labels) - 1
    said = dict(part.split("=") for part in cells.labels[place].split(";"))
    first, last = map(int, said["beaten-by"].split("-"))
    assert first <= beaten <= last
    if cells.sizes:
        assert int(said["found"]) == max((n for n in cells.sizes if n <= found), default=0)
    for edge in cells.edges:
        weight = weights_of_scores(cells.labels, at_most=edge)[place]
        assert weight == (beaten <= edge)
        for size in cells.sizes:
            both = weights_of_scores(cells.labels, at_most=edge, gallery_size=size)[place]
            assert both == (beaten <= edge and found >= size)


@given(score_cells())
def test_classes_of_u_repeat_nothing_and_leave_nothing_out(cells: ScoreCells) -> None:
    labels = cells.labels
    assert len(set(labels)) == len(labels) == len(cells)
    met = [cells.index(beaten, 0) for beaten in range(cells.reference_size + 1)]
    assert met == sorted(met)
    assert set(met) == {one * (len(cells.sizes) + 1) for one in range(len(cells.edges) + 1)}
    assert weights_of_scores(labels, at_most=cells.reference_size)[-1] == 0


@given(RATES, SIZES, REFERENCES)
def test_an_open_set_edge_is_the_last_count_that_keeps_strangers_out(
    fpir: int, size: int, reference: int
) -> None:
    edge = faces_at_fpir(fpir, size, reference_size=reference)

    def out(faces: int) -> Fraction:
        return (1 - Fraction(faces, reference)) ** size

    assert out(edge) >= 1 - Fraction(fpir, PPM) > out(edge + 1)


@given(RATES, SIZES, REFERENCES)
def test_a_threshold_edge_is_the_last_count_above_the_threshold(
    threshold: int, size: int, reference: int
) -> None:
    edge = faces_above(threshold, size, reference_size=reference)

    def first(faces: int) -> Fraction:
        return (1 - Fraction(faces, reference)) ** (size - 1)

    assert first(edge) > Fraction(threshold, PPM) >= first(edge + 1)


def test_a_chance_of_exactly_the_threshold_is_not_above_it() -> None:
    # (1 - 1/2)^2 = 1/4: five of ten faces at N = 3
    assert faces_above(250_000, 3, reference_size=10) == 4
    assert faces_at_fpir(750_000, 2, reference_size=10) == 5
    assert faces_at_fmr(500_000, reference_size=10) == 5


@pytest.mark.parametrize("threshold", ABOVE_PPM)
def test_the_mirrored_formula_would_ask_for_another_share(threshold: int) -> None:
    """1 - (1 - t)^(1/(N-1)) holds whoever has a chance above 1 - t: not the question."""
    size, reference, t = 100, 100_000, threshold / PPM
    mirrored = 1 - (1 - t) ** (1 / (size - 1))
    assert (1 - mirrored) ** (size - 1) == pytest.approx(1 - t)
    ours = faces_above(threshold, size, reference_size=reference) / reference
    assert (1 - ours) ** (size - 1) == pytest.approx(t, rel=0.01)


@given(st.integers(2, 1000), st.sets(st.integers(1001, 10**9), min_size=1, max_size=6), st.data())
def test_a_person_beyond_the_reference_falls_into_one_cell(
    anchor: int, larger: set[int], data: st.DataObject
) -> None:
    cells = BeyondCells(anchor=anchor, sizes=tuple(sorted(larger)))
    classes = (0, anchor, *cells.sizes)
    gpd = data.draw(st.sampled_from(classes))
    normal = 0 if not gpd else data.draw(st.sampled_from(classes[1:]))
    place = cells.index(gpd, normal)
    assert cells.labels[place] == f"gpd={gpd};normal={normal}"
    assert len(set(cells.labels)) == len(cells) == cells.not_acquired + 1
    for size in classes[1:]:
        for tail, found in (("gpd", gpd), ("normal", normal)):
            row = weights_of_beyond(cells.labels, tail=tail, gallery_size=size)
            assert row[place] == (found >= size)
            assert row[-1] == 0


@pytest.mark.parametrize(
    ("edges", "sizes"),
    [((), ()), ((5, 5), ()), ((7, 5), ()), ((5, 20), ()), ((-1,), ()), ((5,), (10, 10))],
)
def test_edges_that_are_no_ladder_are_refused(
    edges: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    with pytest.raises(MalformedError):
        ScoreCells(edges=edges, sizes=sizes, reference_size=20)


M = 10_000


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({}, "must ask"),
        ({"fmr_ppm": (2_999,)}, "at least 30 faces"),
        ({"fmr_ppm": (10_000, 10_000)}, "ascending"),
        ({"fmr_ppm": (100_000, 10_000)}, "ascending"),
        ({"fmr_ppm": (0,)}, "between 0 and 1"),
        ({"fmr_ppm": (PPM,)}, "between 0 and 1"),
        ({"open_set": (OpenSet(gallery_size=1000, fpir_ppm=10_000),)}, "at least 30 faces"),
        ({"open_set": (OpenSet(gallery_size=200, fpir_ppm=600_000),)}, "anchors"),
        ({"open_set": (OpenSet(gallery_size=100, fpir_ppm=300_000),) * 2}, "once"),
        ({"above": (1000,)}, "at least 30 faces"),
        ({"above": (50,)}, "anchors"),
        ({"above": (1,)}, "anchors"),
        ({"fmr_ppm": (10_000,), "columns": ("blur", "blur")}, "different columns"),
        ({"fmr_ppm": (10_000,), "columns": ("mystery",)}, "different columns"),
        ({"fmr_ppm": (999_999,), "edge_error": ()}, "edge_error"),
    ],
)
def test_a_table_of_u_that_measures_nothing_is_refused(scores: dict[str, Any], why: str) -> None:
    asked = Scores(**{"columns": ("unmodified",), **scores})
    with pytest.raises(ValidationError, match=why):
        an_experiment(scores=asked)


def test_more_cells_than_anybody_has_people_are_refused() -> None:
    anchors = tuple(range(100, 108))
    points = tuple(
        OpenSet(gallery_size=size, fpir_ppm=500_000 + size * 100 + one)
        for size in anchors
        for one in (0, 200_000)
    )[:12]
    asked = scores_of(
        1_000_000,
        fmr_ppm=tuple(range(100_000, 700_000, 50_000)),
        open_set=points,
        above=anchors[:4],
    )
    cells = (len(asked.edges(1_000_000)) + 1) * (len(asked.sizes) + 1) + 1
    assert cells < 512  # what can be asked at most stays below the limit
    experiment = an_experiment(anchors=anchors, reference_size=1_000_000, scores=asked)
    assert len(experiment.tables()["face-u/unmodified"]) == cells


@pytest.mark.parametrize(
    ("sizes", "columns", "why"),
    [
        ((1000,), ("unmodified",), "measured"),
        ((10_000, 10_000), ("unmodified",), "ascending"),
        ((100_000, 10_000), ("unmodified",), "ascending"),
        ((10_000,), ("mystery",), "different columns"),
        ((10_000,), ("blur", "blur"), "different columns"),
    ],
)
def test_a_gallery_that_need_not_or_cannot_be_extrapolated_is_refused(
    sizes: tuple[int, ...], columns: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        an_experiment(beyond=beyond_of(sizes, columns))


def test_a_tail_says_its_error_at_every_size_that_is_asked() -> None:
    asked = beyond_of((10_000, 100_000))
    (tail,) = asked.tails
    lacking = tail.model_copy(update={"error": tail.error[:1]})
    with pytest.raises(ValidationError, match="each gallery size once"):
        an_experiment(beyond=asked.model_copy(update={"tails": (lacking,)}))


def test_several_scans_a_person_have_no_table_of_u() -> None:
    with pytest.raises(ValidationError, match="several tries"):
        an_experiment(
            scores=scores_of(M, fmr_ppm=(10_000,)), scan_rule=ScanRule.MOST_EXPOSED, scan_cap=3
        )


def test_a_study_of_before_there_were_such_tables_still_parses() -> None:
    new = json.loads(an_experiment().model_dump_json(by_alias=True))
    del new["scores"], new["beyond"]
    old = FaceExperiment.model_validate_json(json.dumps(new))
    assert old == an_experiment()
    assert list(old.tables()) == ["face-joint", "face-gates"]


def test_a_rate_is_extrapolated_to_a_twentieth_of_the_pooled_pairs_alone() -> None:
    assert basis(24_000, 480_000) == "extrapolated"
    assert basis(24_001, 480_000) == "model-based"
