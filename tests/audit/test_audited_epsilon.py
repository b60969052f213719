"""The claimed epsilon, audited from signed bytes; and mutants of the release path, each caught.

The audit's bound exceeds the true epsilon with a chance of at most one in a thousand
(`auditor.ERROR`; docs/privacy.md, "Audited"). Of 1,500 audits of the honest path, as
benchmarks/audit_power.py makes them, one raised a false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tests.audit.auditor import ERROR, Canaries, agreement, audited, one_run, two_worlds
from tests.audit.released_canaries import STUDIES, CanarySite

from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_site import release as release_module
from reidscope_site.ledger import Ledger
from reidscope_site.outcomes import Outcomes
from reidscope_site.release import NoisyCounter, noisy_counter

FALSE_ALARM = 1e-6
honest_call = NoisyCounter.__call__
honest_measurement = release_module._measurement


def test_the_audited_epsilon_of_signed_releases_is_at_most_the_claim_and_above_four_fifths_of_it(
    canary_site: CanarySite,
) -> None:
    statistic, present, claimed = canary_site.released()
    assert claimed == 1
    assert 0.8 * claimed < audited(statistic, present) <= claimed


@pytest.mark.parametrize("claimed", ["1", "2"])
def test_ten_thousand_canaries_in_one_table_prove_no_more_than_the_claim(claimed: str) -> None:
    counter = noisy_counter(10_000, PrivacyLoss.from_decimal(claimed))
    canaries = Canaries.drawn(10_000)
    statistic = np.array(counter(canaries.people())) - canaries.base
    bound = audited(statistic, canaries.present)
    assert 0.8 * float(claimed) < bound <= float(claimed)
    assert bound == max(
        two_worlds(statistic, canaries.present, error=ERROR / 2),
        one_run(statistic, canaries.present, error=ERROR / 2),
    )


def padded(cells: Sequence[int], noisy: Sequence[int]) -> np.ndarray:
    return np.bincount(np.array(cells, dtype=np.int64), minlength=len(noisy))


class Thin:
    """A measurement that draws 30% less noise than its map is for."""

    def __init__(self, cells: int, scale: float) -> None:
        self.map = honest_measurement(cells, scale).map
        self._thin = honest_measurement(cells, 0.7 * scale)

    def __call__(self, cells: list[int]) -> list[int]:
        drawn: list[int] = self._thin(cells)
        return drawn


def clean_zeros(counter: NoisyCounter, cells: Sequence[int]) -> tuple[int, ...]:
    noisy = honest_call(counter, cells)
    return tuple(
        n if true else 0 for n, true in zip(noisy, padded(cells, noisy).tolist(), strict=True)
    )


def suppressed(counter: NoisyCounter, cells: Sequence[int]) -> tuple[int, ...]:
    noisy = honest_call(counter, cells)
    return tuple(
        0 if 0 < true < 5 else n
        for n, true in zip(noisy, padded(cells, noisy).tolist(), strict=True)
    )


def with_thin_noise(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(release_module, "_measurement", Thin)


def with_everybody_twice(patch: pytest.MonkeyPatch) -> None:
    once = Outcomes.all
    patch.setattr(Outcomes, "all", lambda self: once(self) * 2)


def with_clean_zeros(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NoisyCounter, "__call__", clean_zeros)


def with_suppression(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NoisyCounter, "__call__", suppressed)


def with_a_second_draw(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks again is answered anew, and the outcomes are kept for it."""
    once = Ledger.charge

    def charge(self: Ledger, study: str, table: str, *more: object) -> object:
        if self.charged(study):
            return self.head()
        return once(self, study, table, *more)  # type: ignore[arg-type]  # passed on as it came

    patch.setattr(Ledger, "stored", lambda *_: None)
    patch.setattr(Ledger, "charge", charge)
    patch.setattr(Ledger, "store", lambda *_: None)
    patch.setattr(Outcomes, "erase", lambda _: None)


MUTANTS: list[Callable[[pytest.MonkeyPatch], None]] = [
    with_thin_noise,
    with_everybody_twice,
    with_clean_zeros,
    with_suppression,
    with_a_second_draw,
]


@pytest.mark.slow
@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_release_path_with_a_defect_is_caught(
    canary_site: CanarySite,
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[pytest.MonkeyPatch], None],
) -> None:
    mutate(monkeypatch)
    statistic, present, claimed = canary_site.released()
    assert claimed == 1  # each of them claims what the honest path claims
    assert audited(statistic, present) > claimed


def seeded(counter: NoisyCounter, cells: Sequence[int]) -> tuple[int, ...]:
    """Draw the right noise, the same for every study."""
    noise = np.random.default_rng(7).geometric(
        -math.expm1(-1 / counter.scale), (2, len(honest_call(counter, [])))
    )
    return tuple((padded(cells, noise[0]) + noise[0] - noise[1]).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("is_seeded", [False, True])
def test_a_fixed_seed_shows_in_two_releases_and_in_no_single_one(
    canary_site: CanarySite,
    monkeypatch: pytest.MonkeyPatch,
    is_seeded: bool,  # noqa: FBT001  # pytest's parameter
) -> None:
    if is_seeded:
        monkeypatch.setattr(NoisyCounter, "__call__", seeded)
    statistic, present, claimed = canary_site.released()
    one, another, *_ = np.split(statistic - present, STUDIES)
    assert (agreement(one, another, claimed) < FALSE_ALARM) is is_seeded
    alone = slice(0, len(one))
    assert audited(statistic[alone], present[alone]) <= claimed  # says nothing of a seed


def test_post_processing_proves_nothing_more() -> None:
    counter = noisy_counter(10_000, PrivacyLoss(NANO))
    canaries = Canaries.drawn(10_000)
    clamped = np.maximum(np.array(counter(canaries.people())), 0) - canaries.base
    assert audited(clamped, canaries.present) <= 1
