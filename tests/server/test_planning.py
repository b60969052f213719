"""Planned widths: the report's own intervals, before anybody is asked."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.cells import found_in
from reidscope_protocols.cohort import Cohort
from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.errors import InputError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.keys import KeyRecord
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Constant, FiveSafes, Study, priced
from reidscope_protocols.vocabulary import Attacker, ConstantRole, KeyRole
from reidscope_server.planning import Expected, PlannedWidth, plan, too_wide

ANCHORS = (100, 1000, 10_000)
SHA256 = {
    ConstantRole.DETECTOR: SFACE.detector.sha256,
    ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
}
ARMS = ("blur", "box", "quickshear", "skull-strip")


def a_study(epsilon: str, arms: tuple[str, ...] = ARMS, **asked: Any) -> Study:
    experiment = FaceExperiment(
        **{
            "recogniser": SFACE,
            "anchors": ANCHORS,
            "arms": ("unmodified", *arms),
            "reference_size": 100_000,
            "reference_people": "nobody",
            "gallery_error": tuple(GalleryError(gallery_size=n, sigma_ppm=0) for n in ANCHORS),
            **asked,
        }
    )
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return Study(
        audience=("a", "b", "c"),
        issued_at=now,
        not_after=now + timedelta(days=40),
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
        opens_at=now,
        closes_at=now + timedelta(days=10),
    )


@pytest.mark.parametrize(
    ("people", "epsilon", "points"),
    [
        ([84], "2.5", 11.9),
        ([84] * 3, "2.5", 6.9),
        ([84] * 10, "2.5", 3.8),
        ([84] * 3, "1.25", 9.6),
    ],
)
def test_a_defacer_at_one_half_has_the_width_that_simulation_gave(
    people: list[int], epsilon: str, points: float
) -> None:
    """Simulated for a joint table at 2 and at 1: the gates take a fifth of what is agreed."""
    planned = plan(a_study(epsilon), people)
    width = next(w.half_width_points for w in planned if w.arm == "blur")
    assert width == pytest.approx(points, abs=0.25)


def test_everything_that_the_report_will_estimate_is_planned() -> None:
    planned = plan(a_study("2", damage_arms=("box",)), [84])
    assert [(w.kind, w.arm, w.gallery_size) for w in planned] == [
        *(("rate", "unmodified", anchor) for anchor in ANCHORS),
        *(("rate", arm, 100) for arm in ARMS),
        *(("difference", arm, 100) for arm in ARMS),
        *(("failed gates", arm, None) for arm in ARMS),
        ("damage", "box", None),
    ]


def test_every_attacker_is_planned_and_shares_the_tables_epsilon() -> None:
    both = (Attacker.CALIBRATED, Attacker.REPAIRING)
    planned = plan(a_study("2", ARMS[:2], attackers=both), [84] * 3)
    columns = ["blur", "blur/repairing", "box", "box/repairing"]
    assert [w.arm for w in planned if w.kind == "difference"] == columns
    widths = {w.arm: w.half_width_points for w in planned if w.kind == "rate"}
    assert widths["blur/repairing"] == widths["blur"]
    # a second attacker costs cells, as a second defacer does: the same 65 here
    alone = plan(a_study("2"), [84] * 3)
    assert widths["blur"] == next(w.half_width_points for w in alone if w.arm == "blur")


def test_the_gates_fifth_is_taken_from_the_rates() -> None:
    def width(epsilon: str, **asked: Any) -> float:
        planned = plan(a_study(epsilon, **asked), [84] * 3)
        return next(w.half_width_points for w in planned if w.arm == "unmodified")

    undefaced = width("2", arms=())  # no defacer, no gates: the joint table has all of it
    assert undefaced < width("2", arms=ARMS[:1])
    assert width("2", damage_arms=("box",)) == width("2")  # damage is charged on top


@pytest.mark.parametrize(("kind", "share"), [("failed gates", 0.5), ("damage", 0.3)])
def test_the_tables_beside_have_the_width_that_simulation_gives(kind: str, share: float) -> None:
    """400 draws: the standard deviation of a share is known to 4%, so 12% never fails by chance."""
    people = [84] * 10
    study = a_study("2", damage_arms=("blur",))
    table = study.tables[1 if kind == "failed gates" else 2]
    fitting = [int(label == "none" or "blur=failed" in label.split(";")) for label in table.cells]
    draws = np.random.default_rng(7)
    p = 1 - math.exp(-table.epsilon_nano / NANO)
    found = []
    for _ in range(400):
        counts = np.zeros(len(fitting), dtype=int)
        chosen = draws.random(sum(people)) < share
        np.add.at(counts, np.where(chosen, fitting.index(1), fitting.index(0)), 1)
        for _ in people:
            noise = draws.geometric(p, (2, len(fitting)))
            counts += noise[0] - noise[1]
        found.append(counts @ fitting / counts.sum())
    planned = plan(study, people, Expected(other=share))
    width = next(w.half_width_points for w in planned if (w.kind, w.arm) == (kind, "blur"))
    assert width == pytest.approx(196 * float(np.std(found)), rel=0.12)


def test_too_little_epsilon_for_too_few_people_is_too_wide() -> None:
    assert len(too_wide(plan(a_study("0.5"), [84]))) == 7 + 4  # rates and differences
    assert too_wide(plan(a_study("2"), [84] * 3)) == ()


def test_a_difference_is_held_to_the_same_width_as_a_rate() -> None:
    planned = plan(a_study("2"), [84])
    assert {w.kind for w in too_wide(planned)} == {"difference"}
    assert too_wide(planned, widest_points=17) == ()


def test_wide_gates_and_damage_warn_and_stop_nothing() -> None:
    planned = plan(a_study("2", damage_arms=("blur",)), [120])
    assert max(w.half_width_points for w in planned if w.kind == "failed gates") > 15
    assert too_wide(planned) == ()


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 3000), st.integers(1, 20), st.floats(0, 1))
def test_more_people_and_fewer_arms_never_widen_the_plan(
    people: int, sites: int, rate: float
) -> None:
    def widest(count: int, arms: tuple[str, ...]) -> float:
        planned = plan(a_study("2", arms), [count] * sites, Expected(other=rate))
        return max(w.half_width_points for w in planned if w.kind == "rate")

    assert widest(2 * people, ARMS) <= widest(people, ARMS) + 1e-9
    assert widest(people, ARMS[:1]) <= widest(people, ARMS) + 1e-9


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ([], Expected()),
        ([84, 0], Expected()),
        ([84, 10**400], Expected()),
        ([84], Expected(other=1.5)),
        ([84], Expected(other=math.nan)),
        ([84], Expected(rates={"blur": -0.1})),
        ([84], Expected(rates={"mideface": 0.1})),
        ([84], Expected(rates={"unmodified@50": 0.1})),
        ([84], Expected(rates={"blur@1000": 0.1})),
        ([84], Expected(colluders=1)),
        ([84, 84], Expected(colluders=-1)),
    ],
)
def test_a_plan_for_nobody_or_an_impossible_rate_is_refused(
    people: list[int], expected: Expected
) -> None:
    with pytest.raises(InputError):
        plan(a_study("2"), people, expected)


def widths(planned: tuple[PlannedWidth, ...], kind: str) -> dict[str, PlannedWidth]:
    return {f"{w.arm}@{w.gallery_size}": w for w in planned if w.kind == kind}


def test_each_arm_is_planned_for_the_rate_that_is_expected_of_it() -> None:
    expected = Expected(rates={"unmodified": 0.8, "unmodified@10000": 0.5, "blur": 0.1})
    rates = widths(plan(a_study("2"), [84] * 3, expected), "rate")
    assert {at: w.rate for at, w in rates.items()} == {
        "unmodified@100": 0.8,
        "unmodified@1000": 0.8,
        "unmodified@10000": 0.5,
        "blur@100": 0.1,
        "box@100": 0.5,
        "quickshear@100": 0.5,
        "skull-strip@100": 0.5,
    }
    assert rates["blur@100"].half_width_points < rates["box@100"].half_width_points
    differences = widths(plan(a_study("2"), [84] * 3, expected), "difference")
    assert differences["blur@100"].rate == pytest.approx(-0.7)
    assert differences["box@100"].rate == pytest.approx(-0.8)  # nobody said: it hides everybody


@pytest.mark.parametrize(("before", "after"), [(0.8, 0.1), (0.5, 0.3), (0.3, 0.3)])
def test_a_planned_difference_covers_arms_that_have_nothing_to_do_with_each_other(
    before: float, after: float
) -> None:
    """Simulated without the coin that makes the two agree: 600 draws know an sd to 3%."""
    study, people = a_study("2", ARMS[:1]), 400
    expected = Expected(rates={"unmodified": before, "blur": after})
    planned = widths(plan(study, [people], expected), "difference")["blur@100"]
    draws = np.random.default_rng(3)
    a = math.exp(-study.joint_table.epsilon_nano / NANO)
    noisy_cells = sum(
        (("blur=yes" in label) - (found_in(label, arm="unmodified", gallery_size=100))) ** 2
        for label in study.joint_table.cells
    )
    found = []
    for _ in range(600):
        first, second = draws.random(people) < before, draws.random(people) < after
        noise = draws.geometric(1 - a, (2, noisy_cells))
        total = (second.astype(int) - first).sum() + (noise[0] - noise[1]).sum()
        found.append(total / people)
    assert planned.half_width_points == pytest.approx(196 * float(np.std(found)), rel=0.12)


def test_distributed_noise_is_planned_with_one_laplace_for_all_sites() -> None:
    study = a_study("0.5", ARMS[:1])
    shared = widths(plan(study, [84] * 20), "rate")["blur@100"]
    # 20 sites with a twentieth of the noise variance each: one site of everybody's people
    assert shared.distributed_points == pytest.approx(
        widths(plan(study, [84 * 20]), "rate")["blur@100"].half_width_points
    )
    assert shared.distributed_pays
    colluding = widths(plan(study, [84] * 20, Expected(colluders=10)), "rate")["blur@100"]
    assert shared.distributed_points < colluding.distributed_points < colluding.half_width_points
    assert not widths(plan(study, [84]), "rate")["blur@100"].distributed_pays  # with nobody


def test_a_study_that_shares_its_noise_out_is_planned_with_the_noise_that_is_shared() -> None:
    local = a_study("0.5")
    starts, ends = local.issued_at, local.not_after
    roster = tuple(
        KeyRecord(
            role=KeyRole.SITE,
            site=site,
            public=f"{number:064x}",
            not_before=starts,
            not_after=ends,
        )
        for number, site in enumerate(local.audience, start=1)
    )
    noise = DistributedNoise(colluders_tolerated=1, roster=roster)
    shared = local.model_copy(update={"noise": noise})
    compared = plan(local, [84] * 3, Expected(colluders=1))
    planned = plan(shared, [84] * 3)
    assert [w.half_width_points for w in planned] == [w.distributed_points for w in compared]
    assert planned[0].half_width_points < compared[0].half_width_points
    with pytest.raises(InputError, match="colluders"):
        plan(shared, [84])


@pytest.mark.parametrize(("epsilon", "pays"), [(0.3, True), (0.66, True), (0.71, False)])
def test_distributed_noise_pays_where_the_sites_noise_outweighs_sampling(
    epsilon: float, *, pays: bool
) -> None:
    """For one count the rule is epsilon < sqrt(2 / (n p (1 - p))); a table has a few more cells."""
    study = a_study(str(epsilon), ())
    people, rate = 84, 0.83
    width = widths(plan(study, [people] * 3, Expected(other=rate)), "rate")["unmodified@10000"]
    cells = sum(
        (found_in(label, arm="unmodified", gallery_size=10_000) - rate) ** 2
        for label in study.joint_table.cells
    )
    assert math.sqrt(2 * cells / (people * rate * (1 - rate))) == pytest.approx(0.685, abs=1e-3)
    assert width.distributed_pays is pays


@settings(deadline=None, max_examples=60)
@given(
    nano=st.integers(5, 10**12),
    people=st.lists(st.integers(1, 10**9), min_size=1, max_size=5),
    other=st.sampled_from([0.0, 1e-300, 0.1, 0.5, 1.0]),
    blur=st.floats(0, 1),
    delta=st.sampled_from([1e-300, 1e-12, 1e-6, 0.5]),
)
def test_whatever_can_be_asked_can_be_planned(
    nano: int, people: list[int], other: float, blur: float, delta: float
) -> None:
    study = a_study(str(PrivacyLoss(nano)), ARMS[:2], damage_arms=("blur",))
    expected = Expected(other=other, rates={"blur": blur}, colluders=len(people) - 1)
    for width in plan(study, people, expected, delta=delta):
        most = 100 if width.kind == "difference" else 50
        for points in (width.half_width_points, width.gaussian_points, width.distributed_points):
            assert 0 <= points <= most + 1e-9
