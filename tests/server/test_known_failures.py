"""What a hasty estimator gets wrong, in worlds whose truth is known, beside what stands here.

Probes differ in how much they resemble everybody: probe i's scores with strangers are normal about
its own mean m_i, its mate's about m_i + d. Nothing here is a face; the estimators are the site's
and the coordinator's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import logistic, norm
from tests.server.tail_studies import a_study, beyond_of, noisy, scores_of

from reidscope_protocols.tail_tables import Beyond, OpenSet, Scores
from reidscope_protocols.vocabulary import Attacker
from reidscope_server.asked_tails import PublicTails, TailAnswers, beyond_asked
from reidscope_server.estimates import identification
from reidscope_server.extrapolation import extrapolated
from reidscope_server.open_set import above, open_set, tar
from reidscope_server.pooling import pool
from reidscope_site.face.found import Comparison, chance_at, found_at
from reidscope_site.face.tails import found_beyond, tail_shares
from reidscope_site.reference.tail import tail_of, tail_spread

Numbers = NDArray[np.float64]
APART = 4.29
UNLIKE = 0.7
M = 3_000_000


@dataclass(frozen=True, kw_only=True)
class World:
    """People: each one's mean score with strangers, the mate's score, and the true u."""

    means: Numbers
    mates: Numbers

    @property
    def u(self) -> Numbers:
        return np.asarray(norm.sf(self.mates - self.means))

    @property
    def pooled_u(self) -> Numbers:
        """What ONE false match rate over all probes' scores says of the same mates."""
        return np.asarray(norm.sf(self.mates / math.hypot(1, UNLIKE)))

    def compared(self, reference_size: int, seed: int) -> list[Comparison]:
        """Let everybody meet one's own draw of strangers."""
        beaten = np.random.default_rng(seed).binomial(reference_size, self.u)
        return [Comparison(better=int(k), equal=0, reference_size=reference_size) for k in beaten]


def world(people: int, seed: int = 1) -> World:
    draw = np.random.default_rng(seed)
    means = draw.normal(0, UNLIKE, people)
    return World(means=means, mates=means + APART + draw.standard_normal(people))


def first(u: Numbers, size: int) -> float:
    """Mean chance of rank 1 among `size`, of whom all but the mate are strangers."""
    return float(np.mean((1 - u) ** (size - 1)))


TRUTH = world(400_000, seed=9)
PEOPLE = world(5_000)
COINS = 1 - np.random.default_rng(2).random(5_000)
N, FPIR = 1000, 0.01
F = 1 - (1 - FPIR) ** (1 / N)


def test_one_pooled_false_match_rate_is_wrong_where_a_probes_own_is_right() -> None:
    """Known failure 1: probes are not alike, so that one u for one score is nobody's."""
    study = a_study("2", anchors=(100, N), reference_size=M, scores=SCORES)
    cells = study.experiment.cells()
    places = [
        cells.index(found_at(one, (100, N), coin=coin), {"blur": False})
        for one, coin in zip(PEOPLE.compared(M, 3), COINS, strict=True)
    ]
    ours = identification(study, pool(study, [noisy("a", study, "face-joint", places)]))[1]
    truth, pooled = first(TRUTH.u, N), first(TRUTH.pooled_u, N)
    assert ours.gallery_size == N
    assert ours.low <= truth <= ours.high
    assert pooled < truth - 0.1
    assert not ours.low <= pooled <= ours.high


SCORES = scores_of(
    M,
    fmr_ppm=(100, 1000),
    open_set=(OpenSet(gallery_size=N, fpir_ppm=round(FPIR * 1e6)),),
    above=(100,),
)


def test_one_global_threshold_is_not_a_probes_own() -> None:
    """Known failure 3: the nominal FPIR is not met, and the TPIR is another attacker's."""
    threshold = norm.isf(F) * math.hypot(1, UNLIKE)
    let_in = 1 - (1 - norm.sf(threshold - TRUTH.means)) ** N
    assert let_in.mean() == pytest.approx(0.007, abs=0.0005)  # nominal: 0.010
    globally = float(np.mean((TRUTH.mates > threshold) * (1 - TRUTH.u) ** (N - 1)))
    own = float(np.mean((TRUTH.u <= F) * (1 - TRUTH.u) ** (N - 1)))
    assert globally == pytest.approx(0.23, abs=0.01)
    assert own == pytest.approx(0.51, abs=0.01)

    study = a_study("2", anchors=(100, N), reference_size=M, scores=SCORES)
    cells = SCORES.cells(M)
    places = [
        cells.index(one.better, found_at(one, cells.sizes, coin=coin))
        for one, coin in zip(PEOPLE.compared(M, 3), COINS, strict=True)
    ]
    released = noisy("a", study, "face-u/unmodified", places)
    (ours,) = open_set(study, [released])
    assert ours.low <= own <= ours.high
    assert ours.low > globally + 0.2
    for row in tar(study, [released]):
        assert row.low <= np.mean(row.fmr >= PEOPLE.u) <= row.high
    for risk in above(study, [released]):
        chances = (1 - PEOPLE.u) ** (risk.gallery_size - 1)
        assert risk.low <= np.mean(chances > risk.threshold) <= risk.high


def test_too_small_a_reference_would_publish_the_plug_in_and_is_refused() -> None:
    """FPIR 1% at N = 1,000 with M = 10,000: f M = 0.1, and u = 0 passes any threshold."""
    beaten = np.array([one.better for one in PEOPLE.compared(10_000, 4)])
    assert np.mean(beaten <= F * 10_000) > 0.6  # where the truth is 0.51
    with pytest.raises(ValueError, match="at least 30 faces"):
        a_study(
            scores=Scores(
                columns=("unmodified",), open_set=(OpenSet(gallery_size=N, fpir_ppm=10_000),)
            )
        )


@pytest.mark.parametrize("size", [1000, 3000, 10_000])
def test_the_hypergeometric_chance_is_unbiased_where_the_plug_in_is_not(size: int) -> None:
    """Known failure 2: (1 - k/M)^(N-1) near M."""
    reference = 10_000
    compared = PEOPLE.compared(reference, 5)
    chances = np.array([chance_at(one, size) for one in compared])
    truth = (1 - PEOPLE.u) ** (size - 1)
    noise = (chances - truth).std() / math.sqrt(len(truth))
    assert abs(chances.mean() - truth.mean()) < 4 * noise
    plugged = np.mean([(1 - one.better / reference) ** (size - 1) for one in compared])
    bias = float(plugged - truth.mean())
    assert bias > (0.02 if size == reference else 0.001)
    # and beyond M it stands still while the truth goes on falling
    stuck = np.mean([(1 - one.better / reference) ** (10 * reference - 1) for one in compared])
    assert stuck - first(PEOPLE.u, 10 * reference) > 0.1


REPETITIONS = 20
FAR = (100_000, 1_000_000)


def _asked(spread: dict[str, dict[str, float]]) -> Beyond:
    """Ask for the larger galleries, with the errors that the public probes of a world tell of."""
    held = PublicTails(
        pairs={"unmodified/calibrated": 480_000},
        spread={
            "unmodified/calibrated": {
                model: {int(size): round(sd * 1e6) for size, sd in known.items()}
                for model, known in spread.items()
            }
        },
    )
    answers = TailAnswers(beyond_columns=("unmodified",), beyond_sizes=FAR)
    asked = beyond_asked(answers, held, (Attacker.CALIBRATED,))
    assert asked is not None
    return asked


@pytest.mark.slow
def test_both_tails_together_cover_what_neither_covers_alone() -> None:
    """And the bounds that need no model cover always."""
    cells = beyond_of(FAR).cells(1000)
    hits = dict.fromkeys(("band", "gpd", "normal", "bounds"), 0)
    asked = 0
    for name, strangers, apart in (("normal", norm, (4.3, 1.0)), ("heavy", logistic, (5.6, 1.3))):
        unit = float(strangers.std())

        def u_at(z: Numbers, of: object = strangers, sd: float = unit) -> Numbers:
            return np.asarray(of.sf(z * sd))  # type: ignore[attr-defined]  # a SciPy distribution

        many = np.random.default_rng(0).normal(*apart, 200_000)
        truth = {size: first(u_at(many), size) for size in FAR}
        for repetition in range(REPETITIONS):
            draw = np.random.default_rng([repetition, len(name)])
            public = strangers.rvs(size=(48, 10_000), random_state=draw) / unit
            tail = tail_of(public)
            assert tail is not None
            study = a_study("2", beyond=_asked(tail_spread(public, draw.normal(*apart, 48))))
            z = draw.normal(*apart, 300)
            beaten = draw.binomial(10_000, u_at(z))
            places = []
            for own, k, coin in zip(z, beaten, 1 - draw.random(300), strict=True):
                one = Comparison(better=int(k), equal=0, reference_size=10_000)
                if found_at(one, (100, 1000), coin=coin) < 1000:
                    places.append(cells.index(0, 0))
                    continue
                pair = [
                    found_beyond(share, FAR, coin=coin) or 1000
                    for share in tail_shares(own, one, tail)
                ]
                places.append(cells.index(*pair))
            rows = extrapolated(study, [noisy("a", study, "face-beyond/unmodified", places)])
            for size in FAR:
                asked += 1
                both = {row.tail: row for row in rows if row.gallery_size == size}
                low = min(row.low for row in both.values())
                high = max(row.high for row in both.values())
                hits["band"] += low <= truth[size] <= high
                hits["bounds"] += 0 <= truth[size] <= (both["gpd"].bound_high or 0)
                for model in ("gpd", "normal"):
                    row = both[model]  # type: ignore[index]  # the two models' names
                    hits[model] += row.low <= truth[size] <= row.high
    assert asked == 4 * REPETITIONS
    assert hits["bounds"] == asked
    assert hits["band"] >= 0.9 * asked
    assert hits["band"] > max(hits["gpd"], hits["normal"])
    assert hits["normal"] < 0.6 * asked  # right in one world, wrong in the other
