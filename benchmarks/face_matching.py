"""How fast people are compared with a reference gallery, beside the machine's own products.

    python benchmarks/face_matching.py [--probes 1000] [--references 1000000] [--dimensions 128 512]
                                       [--threads 1] [--repeats 3] [--no-peers]

Needs NumPy; PyTorch for CUDA; faiss-cpu (MIT) if it is to be compared with. Set
OPENBLAS_NUM_THREADS to 1 for `--threads` workers to be the only ones.

Seconds are the best of the repeats: of wall time, but of processor time on the CPU with one thread,
so that a busy machine does not change them much. `share` is of the best rate that the same machine
reached in the same run with a bare product of the same shape: float32 (NumPy's and PyTorch's, in
several block sizes) on the CPU; float32 and 8 bits on the card. Counting is in our seconds, not in
theirs. Memory is what is allocated beyond the inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reidscope_site.face.compare import compare_batch
from reidscope_site.face.found import Comparisons
from reidscope_site.face.products import BYTES

PACKAGES = ("numpy", "torch", "triton", "faiss-cpu")
BLOCKS = (1020, 8192)
Rows = NDArray[np.int8]
Counts = list[tuple[int, int]]


def main() -> None:
    """Measure and print a table for every dimension."""
    ask = argparse.ArgumentParser(description="Matching against the machine's own products.")
    ask.add_argument("--probes", type=int, default=1000)
    ask.add_argument("--references", type=int, default=1_000_000)
    ask.add_argument("--dimensions", type=int, nargs="+", default=[128, 512])
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--repeats", type=int, default=3)
    ask.add_argument("--no-peers", action="store_true")
    asked = ask.parse_args()
    print(f"python {platform.python_version()}, {processor()}", end="")
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            print(f", {name} {version(name)}", end="")
    print(f"; {asked.threads} thread(s)")
    for dimension in asked.dimensions:
        measure(asked, dimension)


def measure(asked: argparse.Namespace, dimension: int) -> None:
    """Measure one shape on everything that is there."""
    draw = np.random.default_rng(dimension)
    probes, mates = faces(draw, asked.probes, dimension), faces(draw, asked.probes, dimension)
    operations = 2 * asked.probes * asked.references * dimension
    print(f"\n{asked.probes} probes x {asked.references} references x {dimension}")
    print(f"{'':44}{'seconds':>9}{'Gop/s':>10}{'share':>8}{'MiB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.npy"
        np.save(path, faces(draw, asked.references, dimension))
        mapped = np.load(path, mmap_mode="r")
        rate = product_rate(probes, dimension, asked)
        print(f"{'bare product, float32':44}{operations / rate:9.3f}{rate / 1e9:10.1f}{1:8.2f}")
        row("bare product, 8 bits (PyTorch's)", byte_seconds(probes, asked), operations, rate)

        def ours() -> Comparisons:
            return compare_batch(probes, mates, mapped, threads=asked.threads)

        seconds = best_of(ours, asked.repeats, clock_of(asked))
        tracemalloc.start()
        counts = plain(ours())
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        row("ours, CPU, gallery of 8 bits, mapped", seconds, operations, rate, peak)
        if not asked.no_peers:
            peers(probes, mates, np.asarray(mapped), asked, rate, counts)
        if cuda():
            on_card(probes, mates, np.array(mapped), asked, counts)


def faces(draw: np.random.Generator, count: int, dimension: int) -> Rows:
    """Rows as quantised unit vectors are: a normal deviate's four standard deviations are 127."""
    rows = np.empty((count, dimension), np.int8)
    for start in range(0, count, 65536):
        some = draw.standard_normal((min(65536, count - start), dimension), np.float32)
        some *= np.float32(127 / 4)
        rows[start : start + len(some)] = np.clip(np.rint(some, out=some), -127, 127, out=some)
    return rows


def product_rate(probes: Rows, dimension: int, asked: argparse.Namespace) -> float:
    """Return the best rate of a float32 product of that shape, operations a second."""
    wide = probes.astype(np.float32).T.copy()
    rates = []
    for block in BLOCKS:
        some = np.ones((block, dimension), np.float32)
        work = 2 * wide.size * block
        for worker in {1, asked.threads}:
            outs = [np.empty((block, len(probes)), np.float32) for _ in range(worker)]
            with ThreadPoolExecutor(worker) as pool:

                def product(
                    some: NDArray[np.float32] = some,
                    outs: list[NDArray[np.float32]] = outs,
                    pool: ThreadPoolExecutor = pool,
                ) -> None:
                    def twenty(out: NDArray[np.float32]) -> None:
                        for _ in range(20):
                            np.matmul(some, wide, out=out)

                    list(pool.map(twenty, outs))

                rates.append(20 * worker * work / best_of(product, asked.repeats, clock_of(asked)))
        if importlib.util.find_spec("torch"):
            import torch  # noqa: PLC0415  # optional

            torch.set_num_threads(asked.threads)
            left, right = torch.from_numpy(some), torch.from_numpy(wide)
            room = torch.empty(block, len(probes))

            def torch_product(
                left: Any = left, right: Any = right, room: Any = room, mm: Any = torch.mm
            ) -> None:
                for _ in range(20):
                    mm(left, right, out=room)

            rates.append(20 * work / best_of(torch_product, asked.repeats, clock_of(asked)))
            torch.set_num_threads(1)
    return max(rates)


def byte_seconds(probes: Rows, asked: argparse.Namespace) -> float:
    """Seconds of PyTorch's product of bytes at this shape, on one thread; infinite without it."""
    if importlib.util.find_spec("torch") is None:
        return float("inf")
    count, dimension = probes.shape
    left, right = np.ones((BLOCKS[0], dimension), np.int8), probes.T.copy()
    out = np.empty((BLOCKS[0], count), np.int32)

    def twenty() -> None:
        for _ in range(20):
            BYTES.multiply(left, right, out)

    blocks = asked.references / BLOCKS[0]
    return best_of(twenty, asked.repeats, clock_of(asked)) / 20 * blocks


def peers(  # noqa: PLR0917  # a table's columns
    probes: Rows,
    mates: Rows,
    gallery: Rows,
    asked: argparse.Namespace,
    rate: float,
    counts: Counts,
) -> None:
    """Measure NumPy as one writes it, and faiss's exact search, which gives ranks up to k alone."""
    operations = 2 * probes.size * len(gallery)
    own = np.einsum("nd,nd->n", probes, mates, dtype=np.int64).astype(np.float32)[:, None]

    def numpy_as_written() -> NDArray[np.int64]:
        better = np.zeros((2, len(probes)), np.int64)
        for start in range(0, len(gallery), 65536):
            scores = probes.astype(np.float32) @ gallery[start : start + 65536].T.astype(np.float32)
            better += ((scores > own).sum(1), (scores == own).sum(1))
        return better

    clock = clock_of(asked)
    start = clock()
    found = numpy_as_written()
    row("NumPy: product, two comparisons, two sums", clock() - start, operations, rate)
    print(f"  the same counts: {[tuple(pair) for pair in found.T.tolist()] == counts}")
    if importlib.util.find_spec("faiss") is None:
        return
    import faiss  # noqa: PLC0415  # optional

    faiss.omp_set_num_threads(asked.threads)
    index = faiss.IndexFlatIP(probes.shape[1])
    for first in range(0, len(gallery), 65536):
        index.add(gallery[first : first + 65536].astype(np.float32))
    for k in (1, 100):
        start = clock()
        index.search(probes.astype(np.float32), k)
        seconds = clock() - start
        row(
            f"faiss IndexFlatIP, the first {k}", seconds, operations, rate, gallery.size * 4 / 2**20
        )


def cuda() -> bool:
    """Whether PyTorch is there and sees a card."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415  # optional

    return torch.cuda.is_available()


def on_card(
    probes: Rows, mates: Rows, gallery: Rows, asked: argparse.Namespace, counts: Counts
) -> None:
    """Measure the card, and whether its bits are the CPU's."""
    import torch  # noqa: PLC0415  # optional

    from reidscope_site.face import products_cuda  # noqa: PLC0415  # needs torch

    operations = 2 * probes.size * len(gallery)
    print(torch.cuda.get_device_name())
    rates = {}
    for name in ("float32", "8 bits"):
        rates[name] = card_rate(probes, gallery.shape[1], name, asked)
        seconds = operations / rates[name]
        print(f"{'bare product, ' + name:44}{seconds:9.4f}{rates[name] / 1e9:10.0f}")
    resident = products_cuda.upload(gallery)
    own = np.einsum("nd,nd->n", probes, mates, dtype=np.int64)
    runs: dict[str, Callable[[], Comparisons | NDArray[np.int64]]] = {
        "ours, `compare_batch`, gallery on the card": lambda: compare_batch(
            probes, mates, resident, device="cuda"
        ),
        "ours, `compare_batch`, gallery brought over": lambda: compare_batch(
            probes, mates, gallery, device="cuda"
        ),
        "ours, counting alone": lambda: products_cuda.count(probes[:, None], own, resident),
        "ours, counting alone, without Triton": lambda: products_cuda.count(
            probes[:, None], own, resident, fused=False
        ),
    }
    for name, run in runs.items():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        same = plain(run()) == counts
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
        seconds = best_of(run, 3 * asked.repeats)
        shares = ", ".join(
            f"{operations / seconds / rate:.2f} of {of}" for of, rate in rates.items()
        )
        print(f"{name:44}{seconds:9.4f}{operations / seconds / 1e9:10.0f}{peak:16.0f}")
        print(f"  {shares}; the CPU's bits: {same}")
        if not same:
            raise SystemExit(1)


def card_rate(probes: Rows, dimension: int, name: str, asked: argparse.Namespace) -> float:
    """Return the best rate of a bare product on the card, operations a second."""
    import torch  # noqa: PLC0415  # optional

    torch.backends.cuda.matmul.allow_tf32 = False
    rates = []
    for block in (1 << 14, 1 << 17):
        some = torch.ones(block, dimension, dtype=torch.int8, device="cuda")
        wide = torch.ones(-(-len(probes) // 16) * 16, dimension, dtype=torch.int8, device="cuda")
        if name == "float32":
            some, wide = some.float(), wide.float()
        multiply = torch.mm if name == "float32" else torch._int_mm  # noqa: SLF001  # 8-bit product

        def product(some: Any = some, wide: Any = wide, multiply: Any = multiply) -> None:
            for _ in range(10):
                multiply(some, wide.T)
            torch.cuda.synchronize()

        work = 2 * some.numel() * len(probes)
        rates.append(10 * work / best_of(product, asked.repeats))
    return max(rates)


def best_of(
    run: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of the fastest of some runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(repeats):
        start = clock()
        run()
        seconds.append(clock() - start)
    return min(seconds)


def clock_of(asked: argparse.Namespace) -> Callable[[], float]:
    """Processor time on one thread, wall time on more."""
    return time.process_time if asked.threads == 1 else time.perf_counter


def plain(found: Comparisons | NDArray[np.int64]) -> Counts:
    """(better, equal) of each."""
    better, equal = (found.better, found.equal) if isinstance(found, Comparisons) else found
    return list(zip(better.tolist(), equal.tolist(), strict=True))


def row(
    name: str, seconds: float, operations: float, rate: float, peak: float | None = None
) -> None:
    """Print one line of the table."""
    memory = "" if peak is None else f"{peak:8.0f}"
    share = operations / seconds / rate
    print(f"{name:44}{seconds:9.3f}{operations / seconds / 1e9:10.1f}{share:8.2f}{memory}")


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
