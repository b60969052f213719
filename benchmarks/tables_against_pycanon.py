r"""Our table measures beside pycanon's, and beside a plain reading of the definitions.

    python -m venv PEER && PEER/bin/pip install -r benchmarks/requirements-pycanon.txt
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        python benchmarks/tables_against_pycanon.py --peer PEER/bin/python [--rows 1000 10000]

Both see the same CSV files: the published tables of tests/deid/tables_published.toml and generated
ones. Times are CPU seconds of one thread, the file already read by either side (ours as codes, the
peer's as a DataFrame). Where the two differ, a third column says what the definition gives, written
out with dictionaries and no shared code. Exits 1 if ours is ever not what the definition gives.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tables_speed import QUASI, write_table

from reidscope_deid.tables.classes import group, spread
from reidscope_deid.tables.diversity import (
    distinct_values,
    effective_values,
    largest_share,
    log_ratio,
    recursive_ratio,
    relative_gain,
)
from reidscope_deid.tables.plan import ColumnPlan
from reidscope_deid.tables.reading import read_columns
from reidscope_deid.tables.sensitive import build_sensitive

PUBLISHED = Path(__file__).parents[1] / "tests" / "deid" / "tables_published.toml"
MEASURES = ("k", "alpha", "l", "entropy l", "c", "t", "beta", "delta")
TOLERANCE = 1e-9

PEER = """
import importlib.metadata, json, math, platform, sys, time, warnings
warnings.simplefilter("ignore")
import numpy, pandas
from pycanon import anonymity
path, quasi, numbers, others = sys.argv[1], *map(json.loads, sys.argv[2:5])
data = pandas.read_csv(path, dtype={name: str for name in quasi + others}, keep_default_na=False)
sensitive = numbers + others
calls = {
    "k": lambda: anonymity.k_anonymity(data, quasi),
    "alpha": lambda: anonymity.alpha_k_anonymity(data, quasi, sensitive)[0],
    "l": lambda: anonymity.l_diversity(data, quasi, sensitive),
    "entropy l": lambda: anonymity.entropy_l_diversity(data, quasi, sensitive),
    "c": lambda: anonymity.recursive_c_l_diversity(data, quasi, sensitive)[0],
    "t": lambda: anonymity.t_closeness(data, quasi, sensitive),
    "beta": lambda: anonymity.basic_beta_likeness(data, quasi, sensitive),
    "delta": lambda: anonymity.delta_disclosure(data, quasi, sensitive),
}
found = {}
for name in json.loads(sys.argv[5]):
    begin = time.process_time()
    figure = float(calls[name]())
    found[name] = [None if math.isnan(figure) else figure, time.process_time() - begin]
versions = {name: importlib.metadata.version(name) for name in ("pycanon", "pandas", "numpy")}
print(json.dumps([found, versions | {"python": platform.python_version()}]))
"""


def ours(path: Path, quasi: list[str], sensitive: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Our figures, with the seconds each took from codes; grouping is charged to every one."""
    columns, _ = read_columns(path, [*quasi, *sensitive])
    codes = [column.codes for column in columns[: len(quasi)]]
    built = [
        build_sensitive(
            column, ColumnPlan(name=name, role="sensitive", kind=kind), missing=[""], folder=path
        )
        for column, (name, kind) in zip(columns[len(quasi) :], sensitive.items(), strict=True)
    ]

    def spreads() -> list:
        classes = group(codes)
        return [
            (one, spread(classes.of_row, one.codes, classes=len(classes), kinds=len(one.values)))
            for one in built
        ]

    def least_l() -> int:
        return min(int(distinct_values(held).min()) for _, held in spreads())

    def c() -> float:
        found = spreads()
        l = min(int(distinct_values(held).min()) for _, held in found)  # noqa: E741 - its name
        if l == 1:
            return math.nan
        return max(float(recursive_ratio(held, l).max()) for _, held in found)

    calls = {
        "k": lambda: int(group(codes).sizes.min()),
        "alpha": lambda: max(float(largest_share(held).max()) for _, held in spreads()),
        "l": least_l,
        "entropy l": lambda: min(float(effective_values(held).min()) for _, held in spreads()),
        "c": c,
        "t": lambda: max(float(one.apart(held).max()) for one, held in spreads()),
        "beta": lambda: max(float(relative_gain(held).max()) for _, held in spreads()),
        "delta": lambda: max(float(log_ratio(held).max()) for _, held in spreads()),
    }
    return {name: timed(call) for name, call in calls.items()}


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """Give a figure, and the CPU seconds of the fastest of three calls."""
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        figure = call()
        seconds.append(time.process_time() - begin)
    return float(figure), min(seconds)


def by_definition(path: Path, quasi: list[str], sensitive: dict[str, str]) -> dict[str, float]:
    """Every figure from dictionaries, as the papers write it."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    classes = defaultdict(list)
    for row in rows:
        classes[tuple(row[name] for name in quasi)].append(row)
    held = {
        name: [Counter(row[name] for row in members) for members in classes.values()]
        for name in sensitive
    }
    figures = {
        "k": min(map(len, classes.values())),
        "l": min(len(counts) for name in sensitive for counts in held[name]),
        "alpha": max(max(c.values()) / c.total() for name in sensitive for c in held[name]),
        "entropy l": min(
            math.exp(-sum(n / c.total() * math.log(n / c.total()) for n in c.values()))
            for name in sensitive
            for c in held[name]
        ),
        "c": math.nan,
        "t": 0.0,
        "beta": 0.0,
        "delta": 0.0,
    }
    if figures["l"] > 1:
        figures["c"] = max(
            (ranked := sorted(counts.values(), reverse=True))[0] / sum(ranked[figures["l"] - 1 :])
            for name in sensitive
            for counts in held[name]
        )
    for name, kind in sensitive.items():
        whole = Counter(row[name] for row in rows)
        order = sorted(whole, key=float if kind == "number" else str)
        p = np.array([whole[value] for value in order]) / len(rows)
        for counts in held[name]:
            q = np.array([counts[value] for value in order]) / counts.total()
            if kind == "number":
                apart = np.abs(np.cumsum(q - p)).sum() / max(len(order) - 1, 1)
            else:
                apart = np.abs(q - p).sum() / 2
            figures["t"] = max(figures["t"], float(apart))
            figures["beta"] = max(figures["beta"], float(((q - p) / p).max()))
            figures["delta"] = max(
                figures["delta"], float(np.abs(np.log(q[q > 0] / p[q > 0])).max())
            )
    return figures


def same(one: float | None, other: float) -> bool:
    """Two figures, nan or None being no figure."""
    if one is None or math.isnan(one):
        return math.isnan(other)
    return abs(one - other) <= TOLERANCE * max(1.0, abs(other))


def compare(
    label: str,
    path: Path,
    quasi: list[str],
    sensitive: dict[str, str],
    *,
    peer: str,
    measures: list[str],
) -> bool:
    """Print a line a measure; tell whether ours is what the definition gives."""
    numbers = [name for name, kind in sensitive.items() if kind == "number"]
    others = [name for name, kind in sensitive.items() if kind != "number"]
    arguments = [str(path), *map(json.dumps, (quasi, numbers, others, measures))]
    done = subprocess.run(  # noqa: S603 - the interpreter that the user named
        [peer, "-c", PEER, *arguments], capture_output=True, text=True, check=True
    )
    theirs, versions = json.loads(done.stdout)
    mine, truth = ours(path, quasi, sensitive), by_definition(path, quasi, sensitive)
    print(f"\n{label}  ({', '.join(f'{name} {version}' for name, version in versions.items())})")
    sound = True
    for name in measures:
        (figure, seconds), (peer_figure, peer_seconds) = mine[name], theirs[name]
        # pycanon gives entropy l as an integer; ours keeps the fraction
        shown = math.floor(figure + TOLERANCE) if name == "entropy l" else figure
        verdict = "agree" if same(peer_figure, shown) else f"DIFFER, definition {truth[name]:.6g}"
        sound &= same(figure, truth[name])
        print(
            f"  {name:10} ours {figure:<12.6g} {seconds:.6f} s   "
            f"pycanon {peer_figure!s:<22} {peer_seconds:.4f} s   "
            f"x {peer_seconds / max(seconds, 1e-7):<8.0f} {verdict}"
        )
    return sound


def main() -> int:
    """Compare on published and on generated tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--measures", nargs="+", default=list(MEASURES))
    options = parser.parse_args()
    print(f"ours: Python {platform.python_version()}, numpy {np.__version__}; one thread")
    sound = True
    with tempfile.TemporaryDirectory() as folder:
        for table in tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))["table"]:
            path = Path(folder) / "published.csv"
            with path.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([table["header"], *table["rows"]])
            sound &= compare(
                table["source"],
                path,
                table["quasi"],
                table["sensitive"],
                peer=options.peer,
                measures=options.measures,
            )
        for rows in options.rows:
            path = Path(folder) / "generated.csv"
            write_table(path, rows)
            # From two large classes to very many small ones.
            for quasi in (["sex"], ["sex", "race", "marital"], list(QUASI)):
                sound &= compare(
                    f"generated, {rows} rows, {len(quasi)} quasi-identifiers",
                    path,
                    quasi,
                    {"hours": "number", "occupation": "category"},
                    peer=options.peer,
                    measures=options.measures,
                )
    print("\nours is what the definitions give" if sound else "\nOURS IS WRONG SOMEWHERE")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
