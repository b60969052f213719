"""Tables with known counts -> known rates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.cells import NOT_ACQUIRED, JointCells
from reidscope_protocols.cohort import Cohort
from reidscope_protocols.face_experiment import (
    GATES_TABLE,
    JOINT_TABLE,
    FaceExperiment,
    GalleryError,
    damage_table,
)
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.side_tables import DAMAGE_CLASSES, SERIOUS_DAMAGE
from reidscope_protocols.statements import LedgerHead, Release, ReleasedTable
from reidscope_protocols.study import Constant, FiveSafes, Study, priced
from reidscope_protocols.vocabulary import Attacker, ConstantRole
from reidscope_server.estimates import (
    ANY_ATTACKER,
    ANY_DEFACER,
    acquired,
    after_any,
    by_site,
    comparisons,
    damage,
    failed_gates,
    identification,
    influence,
    people,
    published,
)
from reidscope_server.pooling import Pooled, noise_variance, pool

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SHA256 = {
    ConstantRole.DETECTOR: SFACE.detector.sha256,
    ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
}
CELLS = JointCells(anchors=(100, 1000), defacers=("blur", "quickshear"))


def a_study(epsilon: str = "4", **asked: Any) -> Study:
    experiment = FaceExperiment(
        **{
            "recogniser": SFACE,
            "anchors": CELLS.anchors,
            "arms": ("unmodified", *CELLS.defacers),
            "reference_size": 10_000,
            "reference_people": "nobody",
            "gallery_error": tuple(
                GalleryError(gallery_size=size, sigma_ppm=0) for size in CELLS.anchors
            ),
            **asked,
        }
    )
    return Study(
        audience=("a", "b", "c"),
        issued_at=NOW,
        not_after=NOW + timedelta(days=40),
        study_id="s",
        title="t",
        question="q",
        population="synthetic people",
        five_safes=FiveSafes(project="p", people="p", settings="s", data="d", outputs="o"),
        cohort=Cohort(),
        experiment=experiment,
        constants=tuple(
            Constant(role=role, sha256=SHA256.get(role, "0" * 64), size_bytes=1)
            for role in ConstantRole
        ),
        tables=priced(experiment, PrivacyLoss.from_decimal(epsilon)),
        minimum_declared_people=1,
        minimum_sites=1,
        opens_at=NOW,
        closes_at=NOW + timedelta(days=10),
    )


def a_release(
    site: str,
    counts: tuple[int, ...],
    epsilon_nano: int = 4 * NANO,
    **others: tuple[int, ...],
) -> Release:
    """Release the joint table, and `others` by name."""
    return Release(
        audience=("coordinator",),
        issued_at=NOW,
        not_after=NOW + timedelta(days=1),
        study_sha256="0" * 64,
        site=site,
        tables=tuple(
            ReleasedTable(
                table=name,
                counts=released,
                epsilon_nano=epsilon_nano,
                mechanism="discrete-laplace",
                scale="0.25",
            )
            for name, released in {JOINT_TABLE: counts, **others}.items()
        ),
        declared_people=84,
        ledger=LedgerHead(sequence=1, head="0" * 64),
        versions={},
    )


def known_counts() -> tuple[int, ...]:
    """100 people: 30 lost, 20 found at 100, 40 at 1,000 (10 of all after blur), 10 no face."""
    counts = [0] * len(CELLS)
    counts[CELLS.index(0, {"blur": False, "quickshear": False})] = 30
    counts[CELLS.index(100, {"blur": False, "quickshear": True})] = 20
    counts[CELLS.index(1000, {"blur": False, "quickshear": True})] = 30
    counts[CELLS.index(1000, {"blur": True, "quickshear": True})] = 10
    counts[CELLS.not_acquired] = 10
    return tuple(counts)


def test_rates_are_shares_of_all_people_and_no_face_counts_as_not_found() -> None:
    study = a_study()
    rows = identification(study, pool(study, [a_release("a", known_counts())]))
    assert [(row.arm, row.gallery_size, row.rate) for row in rows] == [
        ("unmodified", 100, 0.6),
        ("unmodified", 1000, 0.4),
        ("blur", 100, 0.1),
        ("quickshear", 100, 0.6),
    ]
    assert all(row.low < row.rate < row.high and row.basis == "measured" for row in rows)


def test_acquired_and_people_come_from_the_same_table() -> None:
    pooled = pool(a_study(), [a_release("a", known_counts())])
    assert acquired(pooled).rate == 0.9
    counted = people(pooled)
    assert counted.estimate == 100
    assert counted.low < 100 < counted.high


def test_a_comparison_is_arm_minus_unmodified_on_the_same_people() -> None:
    study = a_study()
    blur, quickshear = comparisons(study, pool(study, [a_release("a", known_counts())]))
    assert (blur.arm, blur.against, blur.difference) == ("blur", "unmodified", -0.5)
    assert quickshear.difference == 0
    # nobody changed: the paired interval is far narrower than the rates' own
    assert quickshear.high - quickshear.low < 0.1


def test_whom_any_defacer_leaves_to_be_found_is_counted_once() -> None:
    study = a_study()
    counts = [0] * len(CELLS)
    counts[CELLS.index(100, {"blur": True, "quickshear": True})] = 10
    counts[CELLS.index(100, {"blur": True, "quickshear": False})] = 20
    counts[CELLS.index(100, {"blur": False, "quickshear": True})] = 5
    counts[CELLS.index(100, {"blur": False, "quickshear": False})] = 60
    counts[CELLS.not_acquired] = 5
    (row,) = after_any(study, pool(study, [a_release("a", tuple(counts))]))
    assert (row.arm, row.gallery_size, row.rate) == ("any defacer", 100, 0.35)
    assert row.low < 0.35 < row.high


@given(st.lists(st.integers(-5, 60), min_size=len(CELLS), max_size=len(CELLS)))
def test_any_defacer_leaves_no_fewer_than_each_of_them(counts: list[int]) -> None:
    study = a_study()
    if sum(counts) <= 0:
        return
    pooled = pool(study, [a_release("a", tuple(counts))])
    (together,) = after_any(study, pooled)
    alone = [row.rate for row in identification(study, pooled) if row.arm != "unmodified"]
    assert together.rate >= max(alone)
    assert together.low <= together.rate <= together.high


def test_sites_with_different_epsilons_add_their_variances() -> None:
    releases = [a_release("a", known_counts()), a_release("b", known_counts(), NANO)]
    pooled = pool(a_study(), releases)
    assert pooled.sites == 2
    assert pooled.people == 200
    assert pooled.noise_variance == noise_variance(4 * NANO) + noise_variance(NANO)


@given(
    st.lists(
        st.lists(st.integers(-30, 300), min_size=len(CELLS), max_size=len(CELLS)),
        min_size=1,
        max_size=4,
    )
)
def test_pooling_adds_and_the_order_of_sites_changes_nothing(tables: list[list[int]]) -> None:
    study = a_study()
    releases = [a_release(f"s{i}", tuple(counts)) for i, counts in enumerate(tables)]
    forth, back = pool(study, releases), pool(study, releases[::-1])
    assert forth.counts == back.counts == tuple(map(sum, zip(*tables, strict=True)))
    assert identification(study, forth) == identification(study, back)


@given(st.lists(st.integers(-50, 500), min_size=len(CELLS), max_size=len(CELLS)))
def test_any_table_gives_estimates_inside_their_intervals(counts: list[int]) -> None:
    study = a_study("0.5")
    pooled = pool(study, [a_release("a", tuple(counts), NANO // 2)])
    for row in (*identification(study, pooled), acquired(pooled)):
        assert 0 <= row.low <= row.rate <= row.high <= 1
    for compared in comparisons(study, pooled):
        assert -1 <= compared.low <= compared.difference <= compared.high <= 1


def test_a_site_with_absurd_counts_shows_in_the_influence() -> None:
    study = a_study()
    absurd = tuple(1000 * (label != NOT_ACQUIRED) for label in CELLS.labels)
    releases = [a_release("a", known_counts()), a_release("b", known_counts())]
    calm = {row.site: row.change for row in influence(study, releases)}
    assert calm == {"a": 0, "b": 0}
    loud = influence(study, [*releases, a_release("c", absurd)])
    pull = {row.site: row.change for row in loud if (row.arm, row.gallery_size) == ("blur", 100)}
    assert pull["c"] == pytest.approx(0.39, abs=0.01)
    assert abs(pull["a"]) < 0.02


def test_one_site_alone_has_no_influence_on_anything() -> None:
    assert influence(a_study(), [a_release("a", known_counts())]) == ()


def test_each_site_is_estimated_from_its_own_table() -> None:
    study, nobody = a_study(), (0,) * (len(CELLS) - 1) + (84,)
    rows = by_site(study, [a_release("a", known_counts()), a_release("b", nobody)])
    rates = {(row.site, row.gallery_size): row.rate for row in rows if row.arm == "unmodified"}
    assert rates == {("a", 100): 0.6, ("a", 1000): 0.4, ("b", 100): 0, ("b", 1000): 0}


def test_an_empty_pool_says_nothing_rather_than_zero() -> None:
    pooled = Pooled(
        cells=CELLS.labels, counts=(0,) * len(CELLS), sites=1, noise_variance=noise_variance(NANO)
    )
    for row in identification(a_study(), pooled):
        assert (row.low, row.high) == (0, 1)


def test_published_numbers_have_six_digits_and_no_minus_zero() -> None:
    assert published(2 / 3) == 0.666667
    assert str(published(-1e-9)) == "0.0"


BOTH = (Attacker.CALIBRATED, Attacker.REPAIRING)


def counts_of_two_attackers(study: Study) -> tuple[int, ...]:
    """100 people, all found unmodified: 10 also after blur, 25 more once it is repaired."""
    cells = study.experiment.cells()
    counts = [0] * len(cells)
    seen = dict.fromkeys(cells.defacers, False)
    counts[cells.index(1000, seen | {"blur": True, "blur/repairing": True})] = 10
    counts[cells.index(1000, seen | {"blur/repairing": True})] = 25
    counts[cells.index(1000, seen | {"quickshear": True})] = 5
    counts[cells.index(1000, seen)] = 60
    return tuple(counts)


def test_every_attacker_has_rows_of_their_own() -> None:
    study = a_study(attackers=BOTH)
    release = a_release("a", counts_of_two_attackers(study))
    pooled = pool(study, [release])
    expected = {
        ("unmodified", "calibrated", 100): 1.0,
        ("unmodified", "calibrated", 1000): 1.0,
        ("blur", "calibrated", 100): 0.1,
        ("blur", "repairing", 100): 0.35,
        ("quickshear", "calibrated", 100): 0.05,
        ("quickshear", "repairing", 100): 0.0,
    }
    rows = identification(study, pooled)
    assert {(row.arm, row.attacker, row.gallery_size): row.rate for row in rows} == expected
    at_a_site = by_site(study, [release])
    assert [(row.arm, row.attacker, row.gallery_size, row.rate) for row in at_a_site] == [
        (*point, rate) for point, rate in expected.items()
    ]
    lost = {(row.arm, row.attacker): row.difference for row in comparisons(study, pooled)}
    assert lost == {
        ("blur", "calibrated"): -0.9,
        ("blur", "repairing"): -0.65,
        ("quickshear", "calibrated"): -0.95,
        ("quickshear", "repairing"): -1.0,
    }


def test_a_sites_pull_is_measured_attacker_by_attacker() -> None:
    study = a_study(attackers=BOTH)
    usual = counts_of_two_attackers(study)
    repaired = [0] * len(usual)
    cells = study.experiment.cells()
    repaired[cells.index(1000, dict.fromkeys(cells.defacers, False) | {"blur/repairing": True})] = (
        100
    )
    rows = influence(study, [a_release("a", usual), a_release("b", tuple(repaired))])
    pull = {(row.arm, row.attacker): row.change for row in rows if row.site == "b"}
    assert pull["blur", "repairing"] == pytest.approx(0.325)
    assert pull["blur", "calibrated"] == pytest.approx(-0.05)
    assert len(pull) == 5


def test_any_attacker_has_a_row_an_arm_and_any_defacer_the_last() -> None:
    study = a_study(attackers=BOTH)
    rows = after_any(study, pool(study, [a_release("a", counts_of_two_attackers(study))]))
    assert [(row.arm, row.attacker, row.rate) for row in rows] == [
        ("blur", ANY_ATTACKER, 0.35),
        ("quickshear", ANY_ATTACKER, 0.05),
        (ANY_DEFACER, ANY_ATTACKER, 0.4),
    ]


def test_one_defacer_and_one_attacker_leave_nothing_to_choose_from() -> None:
    study = a_study(arms=("unmodified", "blur"))
    counts = (1,) * len(study.experiment.cells())
    assert after_any(study, pool(study, [a_release("a", counts)])) == ()
    alone = a_study(arms=("unmodified", "blur"), attackers=BOTH)
    counts = (1,) * len(alone.experiment.cells())
    (row,) = after_any(alone, pool(alone, [a_release("a", counts)]))
    assert (row.arm, row.attacker) == ("blur", ANY_ATTACKER)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_attacker_finds_no_fewer_than_each_of_them(data: st.DataObject) -> None:
    study = a_study(attackers=BOTH)
    size = len(study.experiment.cells())
    counts = data.draw(st.lists(st.integers(-5, 60), min_size=size, max_size=size))
    if sum(counts) <= 0:
        return
    pooled = pool(study, [a_release("a", tuple(counts))])
    rates = [(row.arm, row.rate) for row in identification(study, pooled)]
    for row in after_any(study, pooled):
        whose = {"blur", "quickshear"} if row.arm == ANY_DEFACER else {row.arm}
        assert row.rate >= max(rate for arm, rate in rates if arm in whose)
        assert 0 <= row.low <= row.rate <= row.high <= 1


def test_failed_gates_are_shares_of_all_people_defacer_by_defacer() -> None:
    study = a_study()
    labels = study.experiment.tables()[GATES_TABLE]
    counts = dict.fromkeys(labels, 0) | {
        "blur=passed;quickshear=passed": 50,
        "blur=failed;quickshear=passed": 20,
        "blur=failed;quickshear=failed": 10,
        NOT_ACQUIRED: 20,
    }
    released = {GATES_TABLE: tuple(counts.values())}
    releases = [a_release(site, known_counts(), **released) for site in "ab"]
    blur, quickshear = failed_gates(study, releases)
    assert (blur.arm, blur.rate) == ("blur", 0.3)
    assert (quickshear.arm, quickshear.rate) == ("quickshear", 0.1)
    assert 0 < quickshear.low < 0.1 < quickshear.high < blur.high < 1


def test_dearer_gates_have_narrower_intervals() -> None:
    study = a_study()
    counts = (80, 5, 5, 10, 0)
    widths = []
    for epsilon_nano in (NANO // 10, NANO):
        (row, _) = failed_gates(
            study, [a_release("a", known_counts(), epsilon_nano, **{GATES_TABLE: counts})]
        )
        widths.append(row.high - row.low)
    assert widths[0] > 2 * widths[1]


def test_a_study_without_defacers_has_no_gates_to_fail() -> None:
    study = a_study(arms=("unmodified",))
    counts = (1,) * len(study.experiment.cells())
    assert failed_gates(study, [a_release("a", counts)]) == ()


def test_damage_is_a_share_of_all_people_class_by_class() -> None:
    study = a_study(damage_arms=("quickshear",))
    table = damage_table("quickshear")
    counts = (40, 20, 10, 15, 5, 10)
    rows = damage(study, [a_release("a", known_counts(), **{table: counts})])
    assert [(row.arm, row.brain_lost, row.rate) for row in rows] == [
        ("quickshear", label, count / 100)
        for label, count in (
            *zip(DAMAGE_CLASSES, counts, strict=False),
            (SERIOUS_DAMAGE, 20),
        )
    ]
    assert all(row.low < row.rate < row.high for row in rows)


def test_damage_that_nobody_asked_for_is_not_estimated() -> None:
    assert damage(a_study(), [a_release("a", known_counts())]) == ()
