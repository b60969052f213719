"""Planned widths: the report's own intervals, before anybody is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.cells import JointCells
from reidscope_protocols.errors import InputError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.study import (
    JOINT_TABLE,
    Cohort,
    Constant,
    FaceExperiment,
    FiveSafes,
    GalleryError,
    Study,
    TableRequest,
)
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_server.planning import plan, too_wide

ARMS = ("blur", "box", "quickshear", "skull-strip")


def a_study(epsilon: str, arms: tuple[str, ...] = ARMS) -> Study:
    cells = JointCells(anchors=(100, 1000, 10_000), defacers=arms)
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
        experiment=FaceExperiment(
            anchors=cells.anchors,
            arms=("unmodified", *cells.defacers),
            reference_size=100_000,
            reference_people="nobody",
            gallery_error=tuple(
                GalleryError(gallery_size=size, sigma_ppm=0) for size in cells.anchors
            ),
        ),
        constants=tuple(
            Constant(role=role, sha256="0" * 64, size_bytes=1) for role in ConstantRole
        ),
        tables=(
            TableRequest(
                table=JOINT_TABLE,
                cells=cells.labels,
                epsilon_nano=PrivacyLoss.from_decimal(epsilon).nano,
            ),
        ),
        minimum_declared_people=1,
        minimum_sites=1,
        opens_at=now,
        closes_at=now + timedelta(days=10),
    )


@pytest.mark.parametrize(
    ("people", "epsilon", "points"),
    [([84], "2", 11.9), ([84] * 3, "2", 6.9), ([84] * 10, "2", 3.8), ([84] * 3, "1", 9.6)],
)
def test_a_defacer_at_one_half_has_the_width_that_simulation_gave(
    people: list[int], epsilon: str, points: float
) -> None:
    planned = plan(a_study(epsilon), people, rate=0.5)
    width = next(w.half_width_points for w in planned if w.arm == "blur")
    assert width == pytest.approx(points, abs=0.25)


def test_every_rate_and_every_difference_is_planned() -> None:
    planned = plan(a_study("2"), [84])
    assert [(w.kind, w.arm, w.gallery_size) for w in planned] == [
        *(("rate", "unmodified", anchor) for anchor in (100, 1000, 10_000)),
        *(("rate", arm, 100) for arm in ARMS),
        *(("difference", arm, 100) for arm in ARMS),
    ]


def test_too_little_epsilon_for_too_few_people_is_too_wide() -> None:
    assert len(too_wide(plan(a_study("0.5"), [84]))) == 7
    assert too_wide(plan(a_study("2"), [84])) == ()


@given(st.integers(20, 3000), st.integers(1, 20), st.floats(0, 1))
def test_more_people_and_fewer_arms_never_widen_the_plan(
    people: int, sites: int, rate: float
) -> None:
    def widest(count: int, arms: tuple[str, ...]) -> float:
        planned = plan(a_study("2", arms), [count] * sites, rate=rate)
        return max(w.half_width_points for w in planned if w.kind == "rate")

    assert widest(2 * people, ARMS) <= widest(people, ARMS) + 1e-9
    assert widest(people, ARMS[:1]) <= widest(people, ARMS) + 1e-9


@pytest.mark.parametrize(("people", "rate"), [([], 0.5), ([84, 0], 0.5), ([84], 1.5)])
def test_a_plan_for_nobody_or_an_impossible_rate_is_refused(people: list[int], rate: float) -> None:
    with pytest.raises(InputError):
        plan(a_study("2"), people, rate=rate)
