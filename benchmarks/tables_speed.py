"""Seconds and memory from a CSV file to every figure, and to a generalised file.

    OPENBLAS_NUM_THREADS=1 python benchmarks/tables_speed.py [--rows 10000 100000 1000000]

Tables of ten columns: six quasi-identifiers and two sensitive columns with the marginals of census
extracts, two that are passed on. One process, one thread; CPU seconds.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from reidscope_deid.tables.generalising import generalise
from reidscope_deid.tables.plan import TablePlan
from reidscope_deid.tables.reading import read_columns
from reidscope_deid.tables.report import measure_codes, measure_table
from reidscope_deid.tables.sensitive import build_sensitive

QUASI = ("age", "sex", "race", "education", "marital", "zip")
HEADER = (*QUASI, "occupation", "hours", "note", "series")
EDUCATION = (0.32, 0.22, 0.16, 0.05, 0.04, 0.04, 0.03, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.005)
SHARES = {
    "sex": (0.67, 0.33),
    "race": (0.85, 0.1, 0.03, 0.01, 0.01),
    "education": (*EDUCATION, 0.003, 0.002),
    "marital": (0.46, 0.33, 0.14, 0.03, 0.03, 0.0093, 0.0007),
    "occupation": (0.14, 0.13, 0.13, 0.12, 0.11, 0.1, 0.07, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01),
}
PLAN = {
    "schema": "reidscope.table-plan/1",
    "suppress_at_most": 0.02,
    "sampling_fraction": 0.05,
    "targets": {"k": 5, "l": 2, "t": 0.6},
    "column": [
        {"name": "age", "role": "quasi", "kind": "number", "widths": [5, 10, 20], "top": 90},
        {"name": "sex", "role": "quasi"},
        {"name": "race", "role": "quasi"},
        {
            "name": "education",
            "role": "quasi",
            "groups": {
                "few": [f"education {i}" for i in range(0, 16, 2)],
                "many": [f"education {i}" for i in range(1, 16, 2)],
            },
        },
        {"name": "marital", "role": "quasi"},
        {"name": "zip", "role": "quasi", "kind": "postal", "drop": [1, 2, 3]},
        {"name": "occupation", "role": "sensitive"},
        {"name": "hours", "role": "sensitive", "kind": "number"},
        {"name": "note", "role": "other"},
        {"name": "series", "role": "other"},
    ],
}


def make_columns(rows: int, seed: int = 7) -> dict[str, list[str]]:
    """Cells of every column."""
    rng = np.random.default_rng(seed)
    cells = {
        "age": np.clip(rng.gamma(8, 5, rows), 17, 95).astype(int).astype(str).tolist(),
        "zip": [f"{place:05}" for place in 10000 + (rng.zipf(1.6, rows) * 37) % 400],
        "hours": np.clip(rng.normal(40, 10, rows), 1, 99).astype(int).astype(str).tolist(),
        "note": [f"note {number}" for number in rng.integers(0, 50, rows)],
        "series": [f"series {number}" for number in range(rows)],
    }
    for name, shares in SHARES.items():
        chances = np.array(shares) / sum(shares)
        drawn = rng.choice(len(shares), rows, p=chances)
        cells[name] = [f"{name} {number}" for number in drawn]
    return cells


def write_table(path: Path, rows: int) -> None:
    """Write such a table."""
    cells = make_columns(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        writer.writerows(zip(*(cells[name] for name in HEADER), strict=True))


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--local", type=int, default=100_000, help="Largest table to recode locally."
    )
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, numpy {np.__version__}, one thread, CPU seconds")
    print("rows | measures alone | file to figures | peak MB; then generalised and rechecked")
    plan = TablePlan.model_validate(PLAN)
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            table = folder / "table.csv"
            # In a process of its own: its memory is not what is measured.
            writer = multiprocessing.Process(target=write_table, args=(table, rows))
            writer.start()
            writer.join()
            columns, _ = read_columns(table, [*QUASI, "occupation", "hours"])
            begin = time.process_time()
            sensitive = [
                build_sensitive(column, own, missing=plan.missing, folder=folder)
                for column, own in zip(columns[6:], plan.of_role("sensitive"), strict=True)
            ]
            measure_codes([column.codes for column in columns[:6]], sensitive)
            alone = time.process_time() - begin
            begin = time.process_time()
            measure_table(table, plan, folder=folder)
            whole = time.process_time() - begin
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{rows} | {alone:.4f} | {whole:.2f} | {peak:.0f}")
            for recoding in ("global", "local") if rows <= options.local else ("global",):
                asked = plan.model_copy(update={"recoding": recoding})
                begin = time.process_time()
                done = generalise(table, folder / recoding, asked, folder=folder)
                seconds = time.process_time() - begin
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(
                    f"    {recoding}: {seconds:.2f} s, {peak:.0f} MB, "
                    f"{done.checked} of {done.nodes} nodes, NCP {done.loss.ncp:.3f}, "
                    f"entropy {done.loss.entropy:.3f}, {done.loss.suppressed} rows left out, "
                    f"k = {done.reached.sample.k}"
                )


if __name__ == "__main__":
    main()
