"""How far off pooled counts are, and how long shares and masks take.

python benchmarks/distributed_noise.py [--cells 20000]

Error: root mean square over the cells of K summed shares, and of K local discrete Laplaces, as a
multiple of one discrete Laplace (central noise). Times: one site's part, one core.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from reidscope_protocols.polya import PolyaShare, cumulative
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.secure_sum import Participants
from reidscope_protocols.terminal import say
from reidscope_site.masks import masks
from reidscope_site.noise_shares import draw
from reidscope_site.release import noisy_counter


def rmse(noise: np.ndarray) -> float:
    """Return the root mean square of integer noise."""
    return math.sqrt(float(np.mean(np.square(noise.astype(float)))))


def errors(epsilon: str, parties: int, tolerated: int, cells: int) -> tuple[float, float, float]:
    """Return measured shares, computed shares and local noise, in units of central noise."""
    loss = PrivacyLoss.from_decimal(epsilon)
    share = PolyaShare(loss=loss, parties=parties, tolerated=tolerated)
    pooled = np.sum([draw(share, cells) for _ in range(parties)], axis=0)
    counter = noisy_counter(cells, loss)
    local = np.sum([counter([]) for _ in range(parties)], axis=0)
    a = math.exp(-float(epsilon))
    central = math.sqrt(2 * a) / (1 - a)
    return rmse(pooled) / central, math.sqrt(share.variance()) / central, rmse(local) / central


def seconds_of_masks(parties: int, cells: int) -> float:
    """Time one site's masks for a table of so many cells."""
    private = [X25519PrivateKey.generate() for _ in range(parties)]
    names = [f"site-{number:04d}" for number in range(parties)]
    of = Participants(
        study_sha256="00" * 32,
        attempt=1,
        keys={n: k.public_key().public_bytes_raw() for n, k in zip(names, private, strict=True)},
        envelopes={},
        sha256="11" * 32,
    )
    started = time.perf_counter()
    masks(private[0], names[0], of, [("face-joint", cells)])
    return time.perf_counter() - started


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    cells = parser.parse_args().cells
    say("epsilon  K    T   shares measured  computed  local measured")
    for epsilon, parties, tolerated in (
        ("1", 5, 0), ("1", 20, 0), ("1", 20, 1), ("1", 20, 2), ("0.25", 20, 0), ("2", 20, 0),
    ):  # fmt: skip
        shares, computed, local = errors(epsilon, parties, tolerated, cells)
        measured = f"{shares:15.3f} {computed:9.3f} {local:15.3f}"
        say(f"{epsilon:>7}  {parties:<4} {tolerated:<3} {measured}")
    share = PolyaShare(loss=PrivacyLoss.from_decimal("1"), parties=20, tolerated=1)
    started = time.perf_counter()
    cumulative.__wrapped__(share)
    say(f"table of a share: {1e3 * (time.perf_counter() - started):.1f} ms")
    started = time.perf_counter()
    draw(share, 10_000)
    say(f"10,000 shares drawn: {time.perf_counter() - started:.3f} s")
    for parties, size in ((20, 65), (20, 3500), (500, 65)):
        say(f"masks, {parties} sites x {size} cells: {seconds_of_masks(parties, size):.3f} s")


if __name__ == "__main__":
    main()
