"""Known counts in the opt-in tables -> known rates, their bases and their plans."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.server.tail_studies import a_release, a_study, beyond_of, counted, scores_of

from reidscope_protocols.errors import InputError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_protocols.tail_tables import ABOVE_PPM, OpenSet
from reidscope_protocols.vocabulary import Attacker
from reidscope_server.asked_tails import (
    PublicTails,
    TailAnswers,
    beyond_asked,
    read_answers,
    scores_asked,
)
from reidscope_server.extrapolation import extrapolated
from reidscope_server.open_set import above, open_set, tar
from reidscope_server.planning import plan

M = 10_000
U, FAR = "face-u/unmodified", "face-beyond/unmodified"
SCORES = scores_of(
    M,
    fmr_ppm=(10_000, 100_000),
    open_set=(OpenSet(gallery_size=100, fpir_ppm=300_000),),
    above=(100,),
)
BEYOND = beyond_of((20_000, 1_000_000))


def released(study: Study, people: Sequence[tuple[int, int] | None], copies: int) -> Release:
    """Release each of `people`, beaten by so many and found at so many, `copies` times."""
    cells = SCORES.cells(M)
    places = [cells.not_acquired if one is None else cells.index(*one) for one in people] * copies
    return a_release("a", study, **{U: counted(places, len(cells))})


def test_rates_are_the_shares_that_the_cells_say() -> None:
    study = a_study("4", scores=SCORES)
    people = [(0, 100), (35, 100), (36, 0), (99, 0), (100, 0), (101, 100), (1000, 0), (9999, 0)]
    one = released(study, [*people, None, None], 1000)
    assert [(row.fmr, row.rate) for row in tar(study, [one])] == [(0.01, 0.5), (0.1, 0.7)]
    (point,) = open_set(study, [one])
    # f M = 35.6 faces: the first two pass, and both are found; the sixth is found and does not pass
    assert (point.gallery_size, point.rank, point.fpir, point.rate) == (100, 1, 0.3, 0.2)
    assert point.fmr == pytest.approx(0.003560, abs=1e-6)
    analogous = above(study, [one])
    assert [row.threshold for row in analogous] == [t / 1e6 for t in ABOVE_PPM]
    # u < .0298, .0240, .0161, .0111
    assert [row.rate for row in analogous] == [0.6, 0.6, 0.6, 0.6]
    assert {row.analogy for row in analogous} == {"to thresholds of tabular data"}
    for row in (*tar(study, [one]), point, *analogous):
        assert row.low <= row.rate <= row.high
        assert row.high - row.low < 0.03


def test_the_error_of_one_gallery_widens_the_intervals() -> None:
    plain, spread = (
        a_study("4", scores=scores_of(M, sigma_ppm=sigma, fmr_ppm=(10_000,)))
        for sigma in (0, 50_000)
    )
    rows = []
    for study in (plain, spread):
        cells = len(study.tables[-1].cells)
        rows.append(tar(study, [a_release("a", study, **{U: (500,) * cells})])[0])
    assert rows[1].high - rows[1].low > rows[0].high - rows[0].low + 0.1


def test_beyond_the_reference_both_models_stand_beside_the_bounds() -> None:
    study = a_study("4", beyond=BEYOND)
    cells = BEYOND.cells(1000)
    places = [
        *[cells.index(0, 0)] * 300,
        *[cells.index(1000, 1000)] * 200,
        *[cells.index(20_000, 1_000_000)] * 250,
        *[cells.index(1_000_000, 1_000_000)] * 150,
        *[cells.not_acquired] * 100,
    ]
    rows = extrapolated(study, [a_release("a", study, **{FAR: counted(places, len(cells))})])
    said = [(row.gallery_size, row.tail, row.basis, row.rate) for row in rows]
    assert said == [
        (20_000, "gpd", "extrapolated", 0.4),
        (20_000, "normal", "extrapolated", 0.4),
        (1_000_000, "gpd", "model-based", 0.15),
        (1_000_000, "normal", "model-based", 0.4),
    ]
    for row in rows:
        assert (row.bound_low, row.experiment) == (0, FAR)
        assert row.bound_high is not None
        assert 0.6 < row.bound_high < 0.65


def test_noise_lifts_no_larger_gallery_above_the_measured_one() -> None:
    study = a_study("4", beyond=BEYOND)
    cells = BEYOND.cells(1000)
    counts = [-60 if label.startswith("gpd=1000;") else 100 for label in cells.labels]
    for row in extrapolated(study, [a_release("a", study, **{FAR: counts})]):
        assert row.bound_high is not None
        assert row.low <= row.rate <= row.bound_high


def test_a_study_that_asks_for_none_gets_none() -> None:
    study = a_study("4")
    one = a_release("a", study)
    assert (tar(study, [one]), open_set(study, [one]), above(study, [one])) == ((), (), ())
    assert extrapolated(study, [one]) == ()


def test_each_opt_in_table_has_a_price_of_its_own() -> None:
    study = a_study("1", scores=SCORES, beyond=BEYOND)
    prices = {table.table: str(table.loss) for table in study.tables}
    assert prices == {"face-joint": "0.8", "face-gates": "0.2", U: "1", FAR: "1"}
    assert str(study.loss) == "3"


def test_the_plan_holds_every_opt_in_width() -> None:
    planned = plan(a_study("1", scores=SCORES, beyond=BEYOND), [84, 84])
    kinds = [(row.kind, row.gallery_size) for row in planned if row.kind != "rate"]
    assert kinds == [
        ("difference", 100),
        ("TAR at FMR", None),
        ("TAR at FMR", None),
        ("open set", 100),
        ("above a threshold", 100),
        ("extrapolated", 20_000),
        ("extrapolated", 1_000_000),
        ("failed gates", None),
    ]
    assert all(5 < row.half_width_points < 15 for row in planned)


HELD = PublicTails(
    sigma_edges={30: 9000, 100: 4000, 1000: 6000},
    pairs={"unmodified/calibrated": 480_000},
    spread={"unmodified/calibrated": {"gpd": {10**4: 10, 10**6: 30}, "normal": {10**5: 7}}},
)


def test_an_edge_takes_the_larger_of_the_errors_around_it() -> None:
    answers = TailAnswers(score_columns=("unmodified",), fmr_ppm=(3_000, 5_000, 20_000, 200_000))
    asked = scores_asked(answers, HELD, reference_size=M)
    assert asked is not None
    said = [(one.faces, one.sigma_ppm) for one in asked.edge_error]
    assert said == [(30, 9000), (50, 9000), (200, 6000), (2000, 6000)]


def test_a_tail_takes_the_larger_of_the_errors_around_a_size() -> None:
    answers = TailAnswers(beyond_columns=("unmodified",), beyond_sizes=(10**4, 10**5, 10**7))
    asked = beyond_asked(answers, HELD, (Attacker.CALIBRATED,))
    assert asked is not None
    said = [(one.gpd_ppm, one.normal_ppm) for one in asked.tails[0].error]
    assert said == [(10, 7), (30, 7), (30, 7)]


def test_the_error_of_a_tail_widens_its_intervals() -> None:
    widths = []
    for sigma in (0, 60_000):
        study = a_study("4", beyond=beyond_of((1_000_000,), sigma_ppm=sigma))
        cells = len(study.tables[-1].cells)
        row = extrapolated(study, [a_release("a", study, **{FAR: (500,) * cells})])[0]
        widths.append(row.high - row.low)
    assert widths[1] > widths[0] + 0.1


def test_a_calibration_of_before_refuses_the_opt_in_tables_with_a_reason() -> None:
    answers = TailAnswers(
        score_columns=("unmodified",),
        fmr_ppm=(100_000,),
        beyond_columns=("unmodified",),
        beyond_sizes=(10_000,),
    )
    with pytest.raises(InputError, match="sigma_edges"):
        scores_asked(answers, PublicTails(), reference_size=M)
    with pytest.raises(InputError, match="without a public tail"):
        beyond_asked(answers, PublicTails(), (Attacker.CALIBRATED,))
    with pytest.raises(InputError, match="without a public tail"):
        beyond_asked(answers, HELD, (Attacker.RAW,))


def test_too_rare_a_false_match_is_refused_with_the_rate_that_can_be_had() -> None:
    with pytest.raises(InputError, match=r"10 of 10000 public faces.*from 0\.003000"):
        scores_asked(
            TailAnswers(score_columns=("unmodified",), fmr_ppm=(1_000,)), HELD, reference_size=M
        )


@pytest.mark.parametrize(
    "typed",
    [
        {"fmr": "0"},
        {"fmr": "1"},
        {"fmr": "-0.1"},
        {"fmr": "NaN"},
        {"fmr": "Infinity"},
        {"fmr": "1e-400"},
        {"fmr": "0.00000012"},
        {"fmr": "often"},
        {"open_set": "100"},
        {"open_set": "100:"},
        {"open_set": ":0.3"},
        {"open_set": "many:0.3"},
        {"open_set": "100:2"},
        {"above": "x"},
        {"beyond_sizes": "1e6"},
        {"epsilon": "-1"},
    ],
)
def test_what_is_no_rate_or_size_is_refused(typed: dict[str, str]) -> None:
    nothing = dict.fromkeys(("fmr", "open_set", "above", "beyond_sizes"), "")
    fields = {"scores": "unmodified", "beyond": "unmodified", "epsilon": "0.5", **nothing, **typed}
    with pytest.raises(InputError):
        read_answers(**fields)


def test_what_is_typed_is_read() -> None:
    said = read_answers(
        scores="unmodified, blur",
        fmr="0.01,0.1",
        open_set="100:0.3",
        above="100,1000",
        beyond="unmodified",
        beyond_sizes="100000",
        epsilon="0.5",
    )
    assert said == TailAnswers(
        score_columns=("unmodified", "blur"),
        fmr_ppm=(10_000, 100_000),
        open_set=((100, 300_000),),
        above=(100, 1000),
        beyond_columns=("unmodified",),
        beyond_sizes=(100_000,),
        epsilon=PrivacyLoss.from_decimal("0.5"),
    )
