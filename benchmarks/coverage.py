"""How often the 95% intervals hold the truth, over the sizes and epsilons that studies have.

    python benchmarks/coverage.py           shares and paired differences of the joint table
    python benchmarks/coverage.py tails     the opt-in tables of u

Under three minutes on one core; the second, under one. People are drawn from known shares and
discrete Laplace noise is added at every site; only the sums that an interval reads are drawn, and
exactly so: a sum of discrete Laplace variables is a difference of two negative binomials. One
public gallery a repetition moves every share (sd GALLERY_SD). The intervals come from the code that
writes reports.

Tables of u (`open_set`): TAR at FMR 1e-3 and 1e-4, the open-set rate with rank 1 among 100 and
among 1,000 faces at FPIR .3, and shares above .09 and .33 at 1,000; M = 100,000. Mates score
normally about d' = 1.5 to 5 (sd 1), strangers about 0: the true rates run from .01 to .96. A
person's coin decides whether they are found. Open-set rates meet the gallery twice: their two
errors are drawn as one, which is what the interval allows for.

A setting passes if the mean coverage over its rates is 94 to 96.5% and the least at least 92%.
Where noise drowns the table (over 1% of the intervals are wider than half the scale), clipping to
the scale makes intervals hold the truth too often, and the upper target is waived.
"""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.cells import JointCells, weights
from reidscope_protocols.privacy import NANO
from reidscope_protocols.tail_tables import (
    OpenSet,
    Scores,
    faces_above,
    faces_at_fmr,
    faces_at_fpir,
    weights_of_scores,
)
from reidscope_protocols.vocabulary import UNMODIFIED
from reidscope_server.intervals import Interval, Weighed, difference_interval, share_interval
from reidscope_server.pooling import noise_variance

Ints = NDArray[np.int64]
TABLES = {
    "65 cells": JointCells(anchors=(100, 1000, 10_000), defacers=("a", "b", "c", "d")),
    "5 cells": JointCells(anchors=(100,), defacers=("a",)),
}
PEOPLE = (20, 84, 300, 1000, 5000)
EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0)
SITES = (1, 3, 20)
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.83, 0.95)
CHANGES = ((0.0, 0.02), (0.02, 0.02), (0.02, 0.3), (0.1, 0.3), (0.0, 0.6), (0.05, 0.8))
GALLERY_SD = 0.01
REPETITIONS = 1000
SEED = 20_261_101
LEAST, LEAST_MEAN, MOST_MEAN = 0.92, 0.94, 0.965  # targets of the design
USELESS = 0.01  # share of intervals wider than half the scale that drowns a setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of the grid."""

    table: str
    people: int
    epsilon: float
    sites: int

    @property
    def noise(self) -> float:
        """Variance of one pooled count."""
        return self.sites * noise_variance(round(self.epsilon * NANO))

    def laplace(self, rng: np.random.Generator, cells: int) -> Ints:
        """Draw, for every repetition, the noise of `cells` pooled counts together."""
        terms = cells * self.sites
        stop = -math.expm1(-self.epsilon)
        plus, minus = (rng.negative_binomial(terms, stop, REPETITIONS) for _ in range(2))
        return plus - minus


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """Coverage over the truths of one setting; `reaching` is the share of useless intervals."""

    mean: float
    least: float
    half_width: float
    reaching: float

    @classmethod
    def of(cls, runs: list[tuple[float, list[Interval]]], *, scale: float) -> Covered:
        """Summarise; `scale` is the half width of an interval that says nothing."""
        held = [sum(i.low <= truth <= i.high for i in found) / len(found) for truth, found in runs]
        widths = np.array([i.half_width for _, found in runs for i in found])
        return cls(
            mean=sum(held) / len(held),
            least=min(held),
            half_width=float(widths.mean()),
            reaching=float((widths > scale / 2).mean()),
        )

    @property
    def passes(self) -> bool:
        """Whether DESIGN's targets hold; wide intervals may hold the truth too often."""
        most = 1.0 if self.reaching > USELESS else MOST_MEAN
        return self.least >= LEAST and LEAST_MEAN <= self.mean <= most


def shares(rng: np.random.Generator, setting: Setting, arm: str) -> Covered:
    """Cover the share found in `arm` at the smallest anchor."""
    cells = TABLES[setting.table]
    ones = sum(weights(cells.labels, arm=arm, gallery_size=cells.anchors[0]))
    runs = []
    for rate in RATES:
        drawn = np.clip(rate + GALLERY_SD * rng.standard_normal(REPETITIONS), 0, 1)
        hits = rng.binomial(setting.people, drawn)
        total = hits + setting.laplace(rng, ones)
        everyone = total - hits + setting.people + setting.laplace(rng, len(cells) - ones)
        found = [
            share_interval(
                Weighed(
                    total=float(s),
                    people=float(n),
                    weight_sum=ones,
                    weight_squares=ones,
                    cells=len(cells),
                    noise_variance=setting.noise,
                    gallery_sd=GALLERY_SD,
                )
            )
            for s, n in zip(total, everyone, strict=True)
        ]
        runs.append((rate, found))
    return Covered.of(runs, scale=0.5)


def unmodified(rng: np.random.Generator, setting: Setting) -> Covered:
    """Cover the unmodified arm."""
    return shares(rng, setting, UNMODIFIED)


def defacer(rng: np.random.Generator, setting: Setting) -> Covered:
    """Cover a defaced arm."""
    return shares(rng, setting, "a")


def paired(rng: np.random.Generator, setting: Setting) -> Covered:
    """Cover a paired difference, without gallery error: for it the interval assumes the worst."""
    cells = TABLES[setting.table]
    arms = [
        weights(cells.labels, arm=arm, gallery_size=cells.anchors[0]) for arm in ("a", UNMODIFIED)
    ]
    signs = [ours - theirs for ours, theirs in zip(*arms, strict=True)]
    plus, minus = signs.count(1), signs.count(-1)
    runs = []
    for gained, lost in CHANGES:
        people = rng.multinomial(
            setting.people, [gained, lost, 1 - gained - lost], REPETITIONS
        ).T.astype(np.int64)
        up, down = people[0] + setting.laplace(rng, plus), people[1] + setting.laplace(rng, minus)
        everyone = up + down + people[2] + setting.laplace(rng, len(cells) - plus - minus)
        found = [
            difference_interval(
                Weighed(
                    total=float(u - d),
                    people=float(n),
                    weight_sum=plus - minus,
                    weight_squares=plus + minus,
                    cells=len(cells),
                    noise_variance=setting.noise,
                ),
                discordant=float(u + d),
            )
            for u, d, n in zip(up, down, everyone, strict=True)
        ]
        runs.append((gained - lost, found))
    return Covered.of(runs, scale=1.0)


WHAT: dict[str, Callable[[np.random.Generator, Setting], Covered]] = {
    "unmodified": unmodified,
    "defacer": defacer,
    "paired": paired,
}


SCORES = Scores(
    columns=(UNMODIFIED,),
    fmr_ppm=(100, 1000),
    open_set=tuple(OpenSet(gallery_size=size, fpir_ppm=300_000) for size in (100, 1000)),
    above=(1000,),
)
REFERENCE = 100_000
MATES = (1.5, 2.0, 3.0, 4.29, 5.0)  # d' of the mates' scores
ACQUIRED = 0.97
PEOPLE_DRAWN = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One share of a table of u: how many cells it adds up, and its truth for each of `MATES`."""

    ones: int
    cells: int
    truths: tuple[float, ...]
    gallery_sd: float


def question(at_most: int, *, gallery_size: int | None = None) -> Question:
    """Ask for the people beaten by at most so many faces, and found at `gallery_size`."""
    cells = SCORES.cells(REFERENCE)
    row = np.array(weights_of_scores(cells.labels, at_most=at_most, gallery_size=gallery_size))
    truths = []
    for mates in MATES:
        rng = np.random.default_rng(SEED)
        scores = rng.standard_normal(PEOPLE_DRAWN) + mates
        u = np.array([math.erfc(score / math.sqrt(2)) / 2 for score in scores])
        coin, shown = 1 - rng.random(PEOPLE_DRAWN), rng.random(PEOPLE_DRAWN) < ACQUIRED
        found = sum((1 - u) ** (size - 1) >= coin for size in cells.sizes)
        beaten = np.searchsorted(cells.edges, np.rint(u * REFERENCE))
        place = np.where(shown, beaten * (len(cells.sizes) + 1) + found, cells.not_acquired)
        truths.append(float(row[place].mean()))
    return Question(
        ones=int(row.sum()),
        cells=len(row),
        truths=tuple(truths),
        gallery_sd=GALLERY_SD * (1 if gallery_size is None else 2),
    )


@cache
def questions() -> dict[str, tuple[Question, ...]]:
    """Return the questions of each kind."""
    return {
        "TAR at FMR": tuple(
            question(faces_at_fmr(fmr, reference_size=REFERENCE)) for fmr in SCORES.fmr_ppm
        ),
        "open set": tuple(
            question(
                faces_at_fpir(at.fpir_ppm, at.gallery_size, reference_size=REFERENCE),
                gallery_size=at.gallery_size,
            )
            for at in SCORES.open_set
        ),
        "above": tuple(
            question(faces_above(threshold, 1000, reference_size=REFERENCE))
            for threshold in (90_000, 330_000)
        ),
    }


def tail(rng: np.random.Generator, setting: Setting, kind: str) -> Covered:
    """Cover the shares of one kind of question."""
    runs = []
    for asked in questions()[kind]:
        for truth in asked.truths:
            moved = truth + asked.gallery_sd * rng.standard_normal(REPETITIONS)
            hits = rng.binomial(setting.people, np.clip(moved, 0, 1))
            total = hits + setting.laplace(rng, asked.ones)
            rest = setting.laplace(rng, asked.cells - asked.ones)
            everyone = total - hits + setting.people + rest
            found = [
                share_interval(
                    Weighed(
                        total=float(s),
                        people=float(n),
                        weight_sum=asked.ones,
                        weight_squares=asked.ones,
                        cells=asked.cells,
                        noise_variance=setting.noise,
                        gallery_sd=asked.gallery_sd,
                    )
                )
                for s, n in zip(total, everyone, strict=True)
            ]
            runs.append((truth, found))
    return Covered.of(runs, scale=0.5)


TAILS: dict[str, Callable[[np.random.Generator, Setting], Covered]] = {
    kind: partial(tail, kind=kind) for kind in ("TAR at FMR", "open set", "above")
}


def main() -> None:
    """Print the grid, one line a setting, and whether each holds the targets."""
    tails = sys.argv[1:] == ["tails"]
    what = TAILS if tails else WHAT
    tables = (f"{len(SCORES.cells(REFERENCE))} cells",) if tails else tuple(TABLES)
    if tails:
        for kind, asked in questions().items():
            said = "; ".join(" ".join(f"{truth:.3f}" for truth in one.truths) for one in asked)
            print(f"{kind}: true rates {said}")
    print(f"python {platform.python_version()}, numpy {np.__version__}, seed {SEED},")
    print(f"{REPETITIONS} repetitions a rate (standard error of one coverage .7%, of a mean .3%)\n")
    print(f"{'':26}{''.join(f'{name:>25}' for name in what)}")
    print(f"   table  people epsilon sites{'  mean least  half-width' * len(what)}")
    rng = np.random.default_rng(SEED)
    started, every = time.perf_counter(), []
    for table, people, epsilon, sites in product(tables, PEOPLE, EPSILONS, SITES):
        setting = Setting(table=table, people=people, epsilon=epsilon, sites=sites)
        line = [measure(rng, setting) for measure in what.values()]
        every += line
        shown = "".join(
            f"{c.mean:>10.3f}{c.least:>6.3f}{100 * c.half_width:>7.1f}{' ' if c.passes else '!':2}"
            for c in line
        )
        print(f"{table:>8}{people:>8}{epsilon:>8}{sites:>5}  {shown}")
    useful = [c for c in every if c.reaching <= USELESS]
    print(f"\n{len(every)} settings: {sum(not c.passes for c in every)} outside the targets (!);")
    print(f"least coverage of any rate {min(c.least for c in every):.3f};")
    print(
        f"mean over the {len(useful)} settings that noise does not drown "
        f"{sum(c.mean for c in useful) / len(useful):.4f}; {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
