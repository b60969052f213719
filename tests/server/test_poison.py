"""Sites that send nonsense, from the wire to the report: what is refused, and what is only seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reidscope_protocols.cells import JointCells
from reidscope_protocols.envelope import Opened, peek_payload
from reidscope_protocols.errors import ImplausibleError, ReplayedError
from reidscope_protocols.statements import Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_server.coordinator import Coordinator
from reidscope_server.oddities import oddities
from reidscope_server.poison import ShowsItsNoise
from reidscope_site.release import noisy_counter

OpenStudy = Callable[..., Opened[Study]]
CELLS = JointCells(anchors=(2, 100, 1000), defacers=("blur", "quickshear", "facemask", "reface"))
DECLARED = 84


@pytest.fixture
def asked(open_study: OpenStudy) -> OpenStudy:
    """The default study: 65 cells and the gates, epsilon 2."""

    def build(**changes: Any) -> Opened[Study]:
        arms = ("unmodified", *CELLS.defacers)
        return open_study(**{"anchors": CELLS.anchors, "arms": arms, "epsilon": "2", **changes})

    return build


def honest(study: Opened[Study], people: int = DECLARED, seed: int = 1) -> list[dict[str, Any]]:
    """Tables of `people` with real noise: two thirds found unmodified, few after a defacer."""
    rng = np.random.default_rng(seed)
    after = dict.fromkeys(CELLS.defacers, False)
    cells = [
        CELLS.not_acquired
        if rng.random() < 0.05
        else CELLS.index(
            int(rng.choice((0, 2, 100, 1000), p=(0.3, 0.2, 0.2, 0.3))),
            {**after, "blur": bool(rng.random() < 0.4)},
        )
        for _ in range(people)
    ]
    return tables(study, {0: cells, 1: [0] * people})


def tables(study: Opened[Study], people: dict[int, list[int]]) -> list[dict[str, Any]]:
    made = []
    for place, request in enumerate(study.statement.tables):
        counter = noisy_counter(len(request.cells), request.loss)
        made.append(
            {
                "table": request.table,
                "counts": counter(people[place]),
                "epsilon_nano": counter.loss.nano,
                "mechanism": "discrete-laplace",
                "scale": repr(counter.scale),
            }
        )
    return made


def sent(party: Any, study: Opened[Study], said: list[dict[str, Any]], **changes: Any) -> bytes:
    fields = {"declared_people": DECLARED, **changes}
    envelope: bytes = party.release(
        study, tables=tuple(map(ReleasedTable.model_validate, said)), **fields
    )
    return envelope


def approve(coordinator: Coordinator, study: Opened[Study], *parties: Any, **changes: Any) -> None:
    for party in parties:
        coordinator.studies.take_decision(party.decision(study, **changes), party.name)


@pytest.mark.parametrize("people", [0, 3, 84, 800])
def test_honest_tables_are_admitted_whatever_their_size(
    coordinator: Coordinator, asked: OpenStudy, north: Any, people: int
) -> None:
    study = asked()
    approve(coordinator, study, north)
    coordinator.studies.take_release(sent(north, study, honest(study, people)), "north")
    assert coordinator.studies.release_of(study.sha256, "north")


def thousandfold(said: list[dict[str, Any]]) -> None:
    for table in said:
        table["counts"] = tuple(1000 * count for count in table["counts"])


def twentyfold(said: list[dict[str, Any]]) -> None:
    for table in said:
        table["counts"] = tuple(20 * max(count, 0) for count in table["counts"])


def constant(said: list[dict[str, Any]]) -> None:
    said[0]["counts"] = (1,) * len(said[0]["counts"])


def without_noise(said: list[dict[str, Any]]) -> None:
    said[0]["counts"] = (DECLARED, *[0] * (len(said[0]["counts"]) - 1))


def far_below_nothing(said: list[dict[str, Any]]) -> None:
    said[0]["counts"] = tuple(count - 6 for count in said[0]["counts"])


def one_table_of_others(said: list[dict[str, Any]]) -> None:
    said[0]["counts"] = (said[0]["counts"][0] + 300, *said[0]["counts"][1:])


@pytest.mark.parametrize(
    ("bend", "says"),
    [
        (thousandfold, "noisy total|no site can have"),
        (twentyfold, "noisy total"),
        (constant, "one same number in 65 of 65 cells"),
        (without_noise, "one same number in 64 of 65 cells"),
        (far_below_nothing, "noisy total of -"),
        (one_table_of_others, "totals differ"),
    ],
)
def test_nonsense_is_refused_with_its_reason_and_not_stored(
    coordinator: Coordinator,
    asked: OpenStudy,
    north: Any,
    bend: Callable[[list[dict[str, Any]]], None],
    says: str,
) -> None:
    study = asked()
    approve(coordinator, study, north)
    said = honest(study)
    bend(said)
    with pytest.raises(ImplausibleError, match=says):
        coordinator.studies.take_release(sent(north, study, said), "north")
    assert coordinator.studies.release_of(study.sha256, "north") is None


@pytest.mark.parametrize("number", [9, 10])
def test_a_small_table_that_is_constant_is_refused_without_its_values(
    coordinator: Coordinator, open_study: OpenStudy, north: Any, number: int
) -> None:
    study = open_study(anchors=(2,), arms=("unmodified", "blur", "quickshear"), epsilon="2")
    approve(coordinator, study, north)
    people = {place: [0] * DECLARED for place in range(len(study.statement.tables))}
    said = tables(study, people)
    assert len(said[0]["counts"]) == 9
    said[0]["counts"] = (number,) * 9
    with pytest.raises(ImplausibleError, match="as good as one same number") as refused:
        coordinator.studies.take_release(sent(north, study, said), "north")
    assert f"number {number}" not in str(refused.value)


def test_small_honest_tables_are_admitted(open_study: OpenStudy, north: Any) -> None:
    """Thirty sites of all sizes: one false alarm in 10^4 such runs, said once in 10^6 a release."""
    study = open_study(anchors=(2,), arms=("unmodified", "blur", "quickshear"), epsilon="2")
    rng = np.random.default_rng(3)
    for people in (0, 1, 9, 84, 200, 2000):
        for _ in range(5):
            cells = rng.choice(9, people, p=rng.dirichlet([3] * 9)).tolist()
            said = tables(
                study, {0: cells, **{k: [] for k in range(1, len(study.statement.tables))}}
            )
            envelope = sent(north, study, said, declared_people=max(people, 1))
            payload = peek_payload(envelope)
            ShowsItsNoise().check(
                Opened(
                    statement=Release.parse(payload),
                    payload=payload,
                    sha256="",
                    envelope=envelope,
                    signer=study.signer,
                ),
                study,
            )


def test_another_studys_table_of_the_same_site_is_a_replay(
    coordinator: Coordinator, asked: OpenStudy, north: Any
) -> None:
    first, second = asked(study_id="faces-1"), asked(study_id="faces-2")
    approve(coordinator, first, north)
    approve(coordinator, second, north)
    said = honest(first)
    coordinator.studies.take_release(sent(north, first, said), "north")
    with pytest.raises(ReplayedError, match="its own earlier release"):
        coordinator.studies.take_release(sent(north, second, said), "north")
    coordinator.studies.take_release(sent(north, second, honest(second)), "north")


def test_another_sites_counts_are_a_copy_and_one_copied_table_is_enough(
    coordinator: Coordinator, asked: OpenStudy, north: Any, south: Any
) -> None:
    study = asked()
    approve(coordinator, study, north, south)
    said = honest(study)
    coordinator.studies.take_release(sent(north, study, said), "north")
    with pytest.raises(ReplayedError, match="another site's earlier release"):
        coordinator.studies.take_release(sent(south, study, said), "south")
    half = [said[0], honest(study)[1]]
    with pytest.raises(ReplayedError, match="another site's"):
        coordinator.studies.take_release(sent(south, study, half), "south")
    coordinator.studies.take_release(sent(south, study, honest(study)), "south")


def test_a_release_declares_the_size_that_was_approved(
    coordinator: Coordinator, asked: OpenStudy, north: Any
) -> None:
    study = asked()
    approve(coordinator, study, north, declared_people=DECLARED)
    with pytest.raises(ImplausibleError, match="got 8400 declared people"):
        coordinator.studies.take_release(
            sent(north, study, honest(study), declared_people=8400), "north"
        )
    coordinator.studies.take_release(sent(north, study, honest(study)), "north")


def test_a_small_table_that_could_be_so_by_chance_is_admitted(
    coordinator: Coordinator, open_study: OpenStudy, north: Any, south: Any
) -> None:
    """Three cells at epsilon 1 agree by chance too often to accuse anybody."""
    study = open_study(arms=("unmodified",), epsilon="1")
    approve(coordinator, study, north, south)
    for party in (north, south):
        coordinator.studies.take_release(party.release(study), party.name)
    assert coordinator.studies.release_of(study.sha256, "south")


def released(study: Opened[Study], site: str, said: list[dict[str, Any]]) -> Release:
    return Release.model_construct(
        site=site,
        study_sha256=study.sha256,
        declared_people=DECLARED,
        tables=tuple(map(ReleasedTable.model_validate, said)),
    )


def test_what_is_admitted_and_odd_is_named_and_honest_sites_are_not(asked: OpenStudy) -> None:
    study = asked(sites=("north", "south"))
    every = [released(study, f"site-{place}", honest(study, seed=place)) for place in range(5)]
    assert oddities(study.statement, every) == ()
    heavy = honest(study, people=500)
    every[2] = released(study, "heavy", heavy)
    nobody = CELLS.index(0, dict.fromkeys(CELLS.defacers, False))
    empty = tables(study, {0: [nobody] * DECLARED, 1: [0] * DECLARED})
    every[3] = released(study, "empty", empty)
    rows = oddities(study.statement, every)
    seen = {(row.site, row.what.split(",")[0].split(":")[0]) for row in rows}
    assert ("heavy", "face-joint") in seen
    assert ("empty", "unmodified") in seen
    assert {site for site, _ in seen} == {"heavy", "empty"}
    assert all(0 < row.false_alarm <= 1e-3 for row in rows)
