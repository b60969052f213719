"""The one place where numbers about people become public."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from reidscope_protocols.envelope import Opened, open_envelope
from reidscope_protocols.errors import (
    InvariantError,
    LedgerError,
    OutcomeMissingError,
    PolicyRefusalError,
)
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.statements import Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, KeyRole, Verdict
from reidscope_site import release as release_module
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.handover import answer_for
from reidscope_site.outcomes import Outcome, Outcomes
from reidscope_site.release import noisy_counter, release

FALSE_ALARM = 1e-6
EXACT = PrivacyLoss.from_decimal("1000")
"""At epsilon 1,000 the same chain adds noise other than 0 with probability 2e-434."""
ROLE = "data protection officer"


def counted(cells: Sequence[int], of: int) -> np.ndarray:
    """Pre-noise table: through the very chain that a release runs, at an epsilon of 1,000."""
    return np.array(noisy_counter(of, EXACT)(cells))


def released(agent: Agent, study: Opened[Study]) -> bytes:
    return release(
        study,
        Outcomes(agent.connection, agent.site_key, study.sha256),
        ledger=agent.ledger,
        policy=agent.policy,
        site="north",
        key=agent.statement_key,
        versions={"reidscope": "test"},
    )


def opened(agent: Agent, envelope: bytes, study: Opened[Study]) -> Release:
    said = study.statement
    record = KeyRecord(
        role=KeyRole.SITE,
        site="north",
        public=agent.statement_key.public,
        not_before=said.issued_at,
        not_after=said.not_after,
    )
    ring = KeyRing((record,))
    return open_envelope(envelope, Release, ring, role=KeyRole.SITE, site="north").statement


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 10**12))
@example(NANO)
@example(3)
@example(700_000_000)
@example(1)
def test_the_charge_is_opendps_own_map_and_never_above_what_was_asked(nano: int) -> None:
    counter = noisy_counter(3, PrivacyLoss(nano))
    assert counter.loss.nano <= nano
    assert counter.loss.nano >= nano - 1
    proved = release_module._measurement(3, counter.scale).map(1)
    assert counter.loss == PrivacyLoss.charged_for(proved)
    assert math.isclose(counter.scale, NANO / nano, rel_tol=1e-12)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), cells=st.integers(2, 70))
def test_adding_or_removing_any_one_person_moves_the_pre_noise_table_by_at_most_1(
    data: st.DataObject, cells: int
) -> None:
    people = data.draw(st.lists(st.integers(0, cells - 1), min_size=1, max_size=40))
    who = data.draw(st.integers(0, len(people) - 1))
    with_them, without = counted(people, cells), counted(people[:who] + people[who + 1 :], cells)
    moved = with_them - without
    assert np.abs(moved).sum() == 1
    assert moved[people[who]] == 1
    assert with_them.sum() == len(people)


def test_removing_any_one_person_moves_the_signed_table_of_a_whole_site_by_at_most_1(
    make_home: Callable[..., Home], coordinator: object, make_study: Callable[..., Study]
) -> None:
    """The same, from sealed outcomes to signed bytes, for each of seven people."""
    study = coordinator.opened(make_study(epsilon="1000"))  # type: ignore[attr-defined]  # the fixture of conftest.py
    everybody = [0, 0, 1, 2, 3, 4, 4]
    tables = []
    for number, removed in enumerate([None, *range(len(everybody))]):
        home = make_home(f"home-{number}", epsilon_per_study="1000", epsilon_lifetime="1000")
        agent = Agent(home)
        outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
        for person, cell in enumerate(everybody):
            if person != removed:
                outcomes.keep(f"P-{person}", Outcome(cells=(cell, cell % 3)))
        said = opened(agent, released(agent, study), study)
        tables.append([np.array(table.counts) for table in said.tables])
        agent.close()
    assert [list(table) for table in tables[0]] == [[2, 1, 1, 1, 2], [3, 3, 1]]
    for removed, changed in enumerate(tables[1:]):
        for whole, table, cell in zip(
            tables[0], changed, (everybody[removed], everybody[removed] % 3), strict=True
        ):
            moved = whole - table
            assert np.abs(moved).sum() == 1
            assert moved[cell] == 1


def test_a_cell_outside_the_table_counts_nowhere() -> None:
    assert counted([0, 7, -1, 10**9], 3).tolist() == [1, 0, 0]


@pytest.mark.parametrize("epsilon", ["0.5", "1", "2"])
def test_the_noise_is_discrete_laplace_to_the_last_digit_that_a_test_can_see(epsilon: str) -> None:
    """Chi-square of 24,000 draws against the exact pmf; false alarms: one in a million."""
    counter = noisy_counter(2_000, PrivacyLoss.from_decimal(epsilon))
    draws = np.concatenate([counter([]) for _ in range(12)])
    assert draws.dtype.kind == "i"
    a = math.exp(-float(epsilon))
    edge = 0
    while a ** (edge + 1) / (1 + a) * len(draws) > 20:
        edge += 1
    inside = np.arange(-edge, edge + 1)
    expected = (1 - a) / (1 + a) * a ** np.abs(inside)
    tail = a ** (edge + 1) / (1 + a)
    observed = [np.sum(draws < -edge), *(np.sum(draws == k) for k in inside), np.sum(draws > edge)]
    probability = stats.chisquare(observed, len(draws) * np.array([tail, *expected, tail])).pvalue
    assert probability > FALSE_ALARM


def test_a_full_cell_and_an_empty_one_get_the_same_noise() -> None:
    """No cell is clamped, suppressed or left alone when it is empty."""
    counter = noisy_counter(2, PrivacyLoss.from_decimal("1"))
    people = [1] * 50
    draws = np.array([counter(people) for _ in range(3_000)])
    p = stats.ks_2samp(draws[:, 0], draws[:, 1] - 50).pvalue
    assert p > FALSE_ALARM
    assert (draws[:, 0] < 0).any()


@pytest.mark.parametrize("claimed", ["1", "2"])
def test_the_audited_epsilon_is_at_most_the_claimed_one_and_above_four_fifths_of_it(
    claimed: str,
) -> None:
    """Canary cells: each holds one person or nobody by a coin; thresholds tell the two apart.

    The lower bound exceeds the true epsilon with probability at most 1e-6.
    """
    cells, epsilon = 60_000, float(claimed)
    coins = np.random.default_rng().integers(0, 2, cells)
    counter = noisy_counter(cells, PrivacyLoss.from_decimal(claimed))
    counts = np.array(counter([int(cell) for cell in np.flatnonzero(coins)]))
    events = [counts >= cut for cut in range(-4, 6)] + [counts < cut for cut in range(-4, 6)]
    level = FALSE_ALARM / (4 * len(events))
    bound = 0.0
    for event in events:
        for here in (0, 1):
            hits, n = int(event[coins == here].sum()), int((coins == here).sum())
            misses, m = int(event[coins != here].sum()), int((coins != here).sum())
            low = stats.beta.ppf(level, hits, n - hits + 1) if hits else 0.0
            high = stats.beta.ppf(1 - level, misses + 1, m - misses) if misses < m else 1.0
            bound = max(bound, math.log(low / high) if low else 0.0)
    assert 0.8 * epsilon < bound <= epsilon


def test_the_first_release_charges_and_every_later_one_is_the_same_bytes(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    first = released(agent, evaluated)
    spent, head = agent.ledger.spent(), agent.ledger.head()
    assert spent == evaluated.statement.loss
    for _ in range(3):
        assert released(agent, evaluated) == first
    assert (agent.ledger.spent(), agent.ledger.head()) == (spent, head)
    assert answer_for(agent, evaluated.sha256) == b"R" + first


def test_a_release_says_what_it_cost_and_where_the_ledger_stood(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    said = opened(agent, released(agent, evaluated), evaluated)
    (charge, stored) = agent.ledger.entries()
    assert said.ledger.head == charge.head
    assert (charge.kind, stored.kind) == ("charged", "stored")
    assert charge.table == "face-joint + face-gates"
    assert sum(table.epsilon_nano for table in said.tables) == charge.loss.nano
    assert [float(table.scale) for table in said.tables] == pytest.approx([1.25, 5.0])
    assert [len(table.counts) for table in said.tables] == [5, 3]
    assert said.study_sha256 == evaluated.sha256


def test_a_release_says_its_day_and_not_its_hour(agent: Agent, evaluated: Opened[Study]) -> None:
    said = opened(agent, released(agent, evaluated), evaluated)
    opens = evaluated.statement.opens_at
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert said.issued_at == max(midnight, opens)


def test_outcomes_are_gone_once_they_were_released_from_the_disk_too(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    sealed = [row[0] for row in agent.connection.execute("SELECT sealed FROM outcome")]
    assert len(sealed) == 5
    released(agent, evaluated)
    assert agent.connection.execute("SELECT COUNT(*) FROM outcome").fetchone() == (0,)
    held = b"".join(path.read_bytes() for path in agent.home.root.glob("state.sqlite*"))
    assert not any(each in held for each in sealed)


def test_two_studies_of_the_same_people_get_unrelated_noise(
    agent: Agent, coordinator: object, make_study: Callable[..., Study]
) -> None:
    """A fixed seed would show the same noise twice; 2,000 cells agree by chance in 46 %."""
    drawn = []
    for number in range(2):
        study = coordinator.opened(  # type: ignore[attr-defined]  # the fixture of conftest.py
            make_study(study_id=f"faces-{number}", arms=("unmodified", *"abcdefgh"), epsilon="1")
        )
        Outcomes(agent.connection, agent.site_key, study.sha256).keep("P-1", Outcome(cells=(3, 3)))
        drawn.append(np.array(opened(agent, released(agent, study), study).tables[0].counts))
    agreed = np.mean(drawn[0] == drawn[1])
    a = math.exp(-0.8)  # the joint table's share of epsilon 1
    chance = ((1 - a) / (1 + a)) ** 2 * (1 + a * a) / (1 - a * a)
    spread = math.sqrt(chance * (1 - chance) / len(drawn[0]))
    assert abs(agreed - chance) < 5 * spread


@pytest.mark.parametrize("cells", [(0,), (0, 0, 0), (5, 0), (0, 3)])
def test_a_person_without_one_cell_of_each_table_stops_the_release_before_the_charge(
    agent: Agent, evaluated: Opened[Study], cells: tuple[int, ...]
) -> None:
    outcomes = Outcomes(agent.connection, agent.site_key, evaluated.sha256)
    outcomes.keep("P-new", Outcome(cells=cells))
    with pytest.raises(InvariantError):
        released(agent, evaluated)
    assert agent.ledger.spent() == PrivacyLoss(0)


def test_no_way_leads_to_a_seed() -> None:
    words = ("seed", "rng", "random_state", "generator")
    for function in (noisy_counter, release, release_module._measurement):
        assert not [name for name in inspect.signature(function).parameters if name in words]
    source = inspect.getsource(release_module)
    assert not any(word in source for word in (*words, "numpy", "import random", "environ"))


def test_an_epsilon_of_nothing_is_refused() -> None:
    with pytest.raises(PolicyRefusalError):
        noisy_counter(3, PrivacyLoss(0))


@pytest.mark.parametrize("scale", [0.0, -0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_would_release_exact_counts_or_none_is_refused(scale: float) -> None:
    """OpenDP itself takes a scale of 0, and adds no noise."""
    with pytest.raises(PolicyRefusalError):
        release_module._measurement(3, scale)


@pytest.mark.parametrize("cells", [[0.5], ["1"], [[0]]])
def test_a_cell_that_is_no_integer_is_never_counted(cells: list[object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        noisy_counter(3, PrivacyLoss(NANO))(cells)  # type: ignore[arg-type]  # what is tried


@pytest.mark.parametrize(
    "counts", [(1, 2, 3.0, 4, 5), (1, 2, "3", 4, 5), (1, 2, None, 4, 5), (1, 2, True, 4, 5)]
)
def test_a_release_of_something_else_than_integers_cannot_be_written(
    counts: tuple[object, ...],
) -> None:
    said = {"table": "t", "epsilon_nano": 1, "mechanism": "discrete-laplace", "scale": "1.0"}
    with pytest.raises(ValidationError):
        ReleasedTable.model_validate({**said, "counts": counts})


def test_an_outcome_that_cannot_be_opened_costs_nothing(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    agent.connection.execute("UPDATE outcome SET sealed = x'00' WHERE pseudonym = 'P-3'")
    with pytest.raises(LedgerError):
        released(agent, evaluated)
    assert agent.ledger.spent() == PrivacyLoss(0)


KILLED = """
import os, sys
from pathlib import Path
from reidscope_site import release as module
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.ledger import Ledger
from reidscope_site.outcomes import Outcomes

agent, point = Agent(Home(Path(sys.argv[1]))), sys.argv[2]
study = agent.studies.find(sys.argv[3])

def die(*_, **__):
    os._exit(9)

if point == "before the charge":
    Ledger.charge = die
elif point == "inside the charge":
    Ledger._append = die
elif point == "before the noise":
    module.NoisyCounter.__call__ = die
elif point == "before the signature":
    module.sign = die
elif point == "before the store":
    Ledger.store = die
elif point == "inside the store":
    charge = Ledger._append
    Ledger._append = lambda self, kind, *a, **k: (
        die() if kind == "stored" else charge(self, kind, *a, **k)
    )
elif point == "after the store":
    Outcomes.erase = die
module.release(
    study, Outcomes(agent.connection, agent.site_key, study.sha256), ledger=agent.ledger,
    policy=agent.policy, site="north", key=agent.statement_key, versions={},
)
"""


def killed(agent: Agent, study: Opened[Study], point: str) -> None:
    """Release in a process that ends at `point` as by kill -9: no handler, no commit, no flush."""
    command = [sys.executable, "-c", KILLED, agent.home.root, point, study.sha256]
    assert subprocess.run(command, check=False, timeout=60).returncode == 9


@pytest.mark.parametrize("point", ["before the charge", "inside the charge"])
def test_a_kill_before_the_charge_spends_nothing(
    agent: Agent, evaluated: Opened[Study], point: str
) -> None:
    killed(agent, evaluated, point)
    assert agent.ledger.spent() == PrivacyLoss(0)
    assert released(agent, evaluated)


@pytest.mark.parametrize(
    "point",
    [
        "before the noise",
        pytest.param("before the signature", marks=pytest.mark.slow),
        pytest.param("before the store", marks=pytest.mark.slow),
        "inside the store",
    ],
)
def test_a_kill_between_charge_and_store_loses_the_table_for_ever(
    agent: Agent, evaluated: Opened[Study], point: str
) -> None:
    killed(agent, evaluated, point)
    for _ in range(2):
        with pytest.raises(OutcomeMissingError):
            released(agent, evaluated)
    assert agent.ledger.spent() == evaluated.statement.loss
    agent.ledger.check()
    assert agent.ledger.stored(evaluated.sha256) is None
    agent.connection.execute("UPDATE ledger SET written_at = '2020-01-01T00:00:00+00:00'")
    assert answer_for(agent, evaluated.sha256) == b"Nlost"


def test_a_kill_after_the_store_sends_what_was_stored_and_then_erases(
    agent: Agent, evaluated: Opened[Study]
) -> None:
    killed(agent, evaluated, "after the store")
    stored = agent.ledger.stored(evaluated.sha256)
    assert stored is not None
    assert released(agent, evaluated) == stored
    assert agent.connection.execute("SELECT COUNT(*) FROM outcome").fetchone() == (0,)
    assert agent.ledger.spent() == evaluated.statement.loss


def test_a_lost_table_blocks_no_other_study_but_what_it_cost_is_gone(
    agent: Agent, evaluated: Opened[Study], coordinator: object, make_study: Callable[..., Study]
) -> None:
    killed(agent, evaluated, "before the store")
    numbers = count(2)
    study = agent.studies.receive(
        coordinator.sign(make_study(study_id=f"faces-{next(numbers)}"))  # type: ignore[attr-defined]  # the fixture of conftest.py
    )
    agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
    Outcomes(agent.connection, agent.site_key, study.sha256).keep("P-1", Outcome(cells=(0, 0)))
    assert released(agent, study)
    assert agent.ledger.spent() == PrivacyLoss.from_decimal("2")
