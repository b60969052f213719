"""How often intervals hold the truth where sites differ, and where one of them lies.

    python benchmarks/coverage_sites.py [REPETITIONS]

A quarter of an hour on one core at 300 repetitions. Every site has its own size (lognormal, sd .5
about the stated one), declares it badly (lognormal, sd .4 about its own), and its own share of
people found: the stated rate where sites are alike, else drawn from a Beta distribution about it
(sd .1, less near 0 and 1). Discrete Laplace noise comes at every site, one gallery moves all shares
of a repetition (sd GALLERY_SD). What each interval must hold:

    these sites    the pooled score set        the people-weighted mean of these sites' own shares
    like these     `over_sites`                the stated rate
    trimmed        `robust.trimmed_mean`       the stated rate
    without one    `robust`, the hull          the stated rate, sites alike
    poisoned       the hull, the first site    the stated rate, sites alike
                   sending its people as found by nobody, and ten times as many as declared

Means and minima over RATES. Where noise drowns the table, intervals clipped to the scale hold the
truth too often.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.cells import JointCells, weights
from reidscope_protocols.privacy import NANO
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.intervals import Interval, Weighed, share_interval
from reidscope_server.over_sites import SiteShare, sample_of_sites
from reidscope_server.pooling import noise_variance
from reidscope_server.robust import FEWEST_TO_LEAVE_ONE, FEWEST_TO_VOTE, has_rate, trimmed_mean

Ints = NDArray[np.int64]
CELLS = JointCells(anchors=(100, 1000, 10_000), defacers=("a", "b", "c", "d"))
ONES = sum(weights(CELLS.labels, arm=UNMODIFIED, gallery_size=100))
PEOPLE = (20, 84, 1000, 5000)
EPSILONS = (0.25, 1.0, 4.0)
SITES = (1, 3, 5, 20)
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.83, 0.95)
BETWEEN, SIZES, DECLARED = 0.1, 0.5, 0.4
GALLERY_SD = 0.01
SEED = 20_261_123
USELESS = 0.4  # mean half width from which noise drowns a setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One repetition: the sites, what they are, and one of them bent."""

    sites: list[SiteShare]
    bent: SiteShare
    rate: float
    these: float


def laplace(rng: np.random.Generator, epsilon: float, cells: int, shape: tuple[int, int]) -> Ints:
    """Draw the noise of `cells` counts together, for every repetition and site."""
    plus, minus = (rng.negative_binomial(cells, -math.expm1(-epsilon), shape) for _ in range(2))
    return plus - minus


def draw(
    rng: np.random.Generator,
    people: int,
    epsilon: float,
    shape: tuple[int, int],
    *,
    rate: float,
    differ: bool,
) -> Iterator[Drawn]:
    """Draw consortia, `shape` (repetitions, sites)."""
    shift = GALLERY_SD * rng.standard_normal((shape[0], 1))
    sd = min(BETWEEN, 0.6 * math.sqrt(rate * (1 - rate)), 0.7 * min(rate, 1 - rate))
    nu = rate * (1 - rate) / sd**2 - 1
    own = rng.beta(rate * nu, (1 - rate) * nu, shape) if differ else np.full(shape, rate)
    sizes = people * np.exp(SIZES * rng.standard_normal(shape))
    sizes = np.maximum(10, np.rint(sizes)).astype(np.int64)
    hits = rng.binomial(sizes, np.clip(own + shift, 0, 1))
    totals = hits + laplace(rng, epsilon, ONES, shape)
    everyone = totals + sizes - hits + laplace(rng, epsilon, len(CELLS) - ONES, shape)
    declared = np.maximum(1, np.rint(sizes * np.exp(DECLARED * rng.standard_normal(shape))))
    these = (own * sizes).sum(axis=1) / sizes.sum(axis=1)
    for row in range(shape[0]):
        sites = [
            SiteShare(weighed=weigh(int(s), int(n), epsilon), declared_people=int(d))
            for s, n, d in zip(totals[row], everyone[row], declared[row], strict=True)
        ]
        lie = weigh(0, 10 * sites[0].declared_people, epsilon)
        bent = SiteShare(weighed=lie, declared_people=sites[0].declared_people)
        yield Drawn(sites=sites, bent=bent, rate=rate, these=float(these[row]))


def weigh(total: int, everyone: int, epsilon: float, sites: int = 1) -> Weighed:
    """Weigh a table for the unmodified arm at 100."""
    return Weighed(
        total=total,
        people=everyone,
        weight_sum=ONES,
        weight_squares=ONES,
        cells=len(CELLS),
        noise_variance=sites * noise_variance(round(epsilon * NANO)),
        gallery_sd=GALLERY_SD,
    )


def added(sites: list[SiteShare], epsilon: float) -> Interval:
    """Pool."""
    total = sum(site.weighed.total for site in sites)
    people = sum(site.weighed.people for site in sites)
    return share_interval(weigh(int(total), int(people), epsilon, len(sites)))


def hull(sites: list[SiteShare], epsilon: float) -> Interval:
    """Pool without each single site."""
    ends = [added(sites[:k] + sites[k + 1 :], epsilon) for k in range(len(sites))]
    return Interval(min(end.low for end in ends), max(end.high for end in ends))


def these(drawn: Drawn, epsilon: float) -> tuple[Interval, float] | None:
    """Pooled, for these sites."""
    return added(drawn.sites, epsilon), drawn.these


def like_these(drawn: Drawn, epsilon: float) -> tuple[Interval, float] | None:
    """Over sites as a sample."""
    del epsilon
    if len(drawn.sites) == 1:
        return None
    return sample_of_sites(drawn.sites).interval, drawn.rate


def trimmed(drawn: Drawn, epsilon: float) -> tuple[Interval, float] | None:
    """Trimmed mean of sites."""
    del epsilon
    own = [site for site in drawn.sites if has_rate(site.weighed)]
    if len(own) < FEWEST_TO_VOTE:
        return None
    return trimmed_mean(own)[1], drawn.rate


def without_one(drawn: Drawn, epsilon: float) -> tuple[Interval, float] | None:
    """Hull of the pools without one site."""
    if len(drawn.sites) < FEWEST_TO_LEAVE_ONE:
        return None
    return hull(drawn.sites, epsilon), drawn.rate


def poisoned(drawn: Drawn, epsilon: float) -> tuple[Interval, float] | None:
    """Hull, with the first site lying."""
    if len(drawn.sites) < FEWEST_TO_LEAVE_ONE:
        return None
    return hull([drawn.bent, *drawn.sites[1:]], epsilon), drawn.rate


Method = Callable[[Drawn, float], tuple[Interval, float] | None]
METHODS: dict[str, tuple[Method, tuple[bool, ...]]] = {
    "these sites": (these, (False, True)),
    "like these": (like_these, (False, True)),
    "trimmed": (trimmed, (False, True)),
    "without one": (without_one, (False,)),
    "poisoned": (poisoned, (False,)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One method in one setting."""

    what: str
    mean: float
    least: float
    half_width: float


def measure(
    rng: np.random.Generator,
    people: int,
    epsilon: float,
    sites: int,
    repetitions: int,
    *,
    differ: bool,
) -> Iterator[Line]:
    """Cover one setting by every method that applies."""
    held: dict[str, list[list[bool]]] = {}
    widths: dict[str, list[float]] = {}
    for rate in RATES:
        for runs in held.values():
            runs.append([])
        shape = (repetitions, sites)
        for drawn in draw(rng, people, epsilon, shape, rate=rate, differ=differ):
            for name, (method, when) in METHODS.items():
                read = method(drawn, epsilon) if differ in when else None
                if read is None:
                    continue
                interval, truth = read
                runs = held.setdefault(name, [[]])
                runs[-1].append(interval.low <= truth <= interval.high)
                widths.setdefault(name, []).append(interval.half_width)
    for name, runs in held.items():
        covered = [sum(run) / len(run) for run in runs if run]
        yield Line(
            what=name,
            mean=sum(covered) / len(covered),
            least=min(covered),
            half_width=sum(widths[name]) / len(widths[name]),
        )


def main() -> None:
    """Print the grid and, method by method, mean and least coverage."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    rng = np.random.default_rng(SEED)
    started = time.perf_counter()
    every: list[tuple[bool, Line]] = []
    print(f"numpy {np.__version__}, seed {SEED}, {repetitions} repetitions a rate")
    print("sites differ, people, epsilon, sites: method mean least half-width (points)\n")
    for differ, people, epsilon, sites in product((False, True), PEOPLE, EPSILONS, SITES):
        lines = list(measure(rng, people, epsilon, sites, repetitions, differ=differ))
        every += [(differ, line) for line in lines]
        said = "".join(
            f"  {line.what} {line.mean:.3f} {line.least:.3f} {100 * line.half_width:4.1f}"
            for line in lines
        )
        print(f"{'yes' if differ else 'no':>3}{people:>6}{epsilon:>6}{sites:>4} {said}", flush=True)
    print()
    for differ, name in product((False, True), METHODS):
        own = [line for d, line in every if d == differ and line.what == name]
        useful = [line for line in own if line.half_width < USELESS]
        if useful:
            print(
                f"{name}, sites {'differ' if differ else 'alike'}: {len(useful)} of {len(own)} "
                f"settings not drowned, mean {sum(x.mean for x in useful) / len(useful):.4f}, "
                f"settings {min(x.mean for x in useful):.3f} to {max(x.mean for x in useful):.3f}, "
                f"least of a rate {min(x.least for x in useful):.3f}"
            )
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
