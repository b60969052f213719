"""Errors that `dciodvfy` counts before and after, over pydicom's own test files: us and peers.

    apt-get install dicom3tools
    python benchmarks/deid_conformance.py --peers peers-venv/bin/python [--profile basic]

Every Part 10 file below pydicom's `data` folder is taken alone. A file that a tool leaves out does
not count for that tool: sums are over the files that it wrote. The files were written to be odd,
so the sum says little; that no file is made worse says more: no more errors, and still an object
whose kind `dciodvfy` knows (of an unknown one it checks next to nothing).
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pydicom
from deid_peers import tools

from reidscope_deid.conformance import Judgement, find_validator, judge
from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile, profile_names
from reidscope_deid.reasons import QuarantinedError
from reidscope_deid.series import deidentify_files

PEERS = ("dicognito", "dicom-anonymizer", "deid", "gdcmanon -e", "pydicom read + save")
Written = dict[str, Path]


def write_sources(folder: Path) -> None:
    """Copy pydicom's files into one folder, each under a number."""
    number = 0
    for path in sorted(Path(pydicom.__file__).parent.joinpath("data").rglob("*")):
        if not path.is_file() or path.suffix in {".py", ".pyc", ".json", ".md", ".txt"}:
            continue
        try:
            if "SOPClassUID" not in pydicom.dcmread(path, stop_before_pixels=True):
                continue
        except Exception:  # noqa: BLE001, S112 - whatever is no Part 10 file
            continue
        (folder / f"{number:03d}.dcm").write_bytes(path.read_bytes())
        number += 1


def ours(name: str, source: Path, out: Path) -> Written | str:
    """Write each file alone under one of our profiles."""
    profile, key = load_profile(name), SiteKey(bytes(32))
    written = {}
    for path in sorted(source.iterdir()):
        try:
            place = out / path.stem
            place.mkdir()
            written[path.name] = deidentify_files([path], place, key=key, profile=profile).files[0]
        except QuarantinedError:
            continue
    return written


def peers(python: str, name: str, source: Path, out: Path) -> Written | str:
    """Write the folder with a peer."""
    run = tools(python)[name]
    # gdcmanon ends at the first file that it refuses: it gets them one by one.
    alone = name.startswith("gdcmanon")
    for path in sorted(source.iterdir()) if alone else (source,):
        said = run(_only(path, out) if alone else source, out)
        if "missing" in said:
            return str(said["missing"])
    return {path.name: path for path in out.rglob("*") if path.is_file()}


def _only(path: Path, beside: Path) -> Path:
    """Make a folder that holds one file."""
    folder = beside.with_name(f"{beside.name}-in") / path.stem
    folder.mkdir(parents=True)
    (folder / path.name).write_bytes(path.read_bytes())
    return folder


def row(
    run: Callable[[Path, Path], Written | str],
    source: Path,
    before: dict[str, Judgement],
    program: str,
) -> tuple[str, list[str]]:
    """Run a tool, and say the cells of its row and the files made worse."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        written = run(source, out)
        if isinstance(written, str):
            return written, []
        after = {name: judge(path, program) for name, path in written.items()}
    worse = sorted(name for name, errors in after.items() if errors.worse_than(before[name]))
    lost = sum(before[name].recognised and not one.recognised for name, one in after.items())
    was = sum(before[name].errors for name in after)
    now = sum(one.errors for one in after.values())
    left = len(before) - len(after)
    return f"{len(after):6} {left:9} {len(worse):11} {lost:8} {was:8} -> {now}", worse


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # pydicom, of its own odd files
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="python3", help="Python that has the peers")
    parser.add_argument("--profile", action="append", help="one of ours; all if not given")
    chosen = parser.parse_args()
    program = find_validator()
    runs: dict[str, Callable[[Path, Path], Written | str]] = {
        f"reidscope {name}": partial(ours, name) for name in chosen.profile or profile_names()
    }
    runs |= {name: partial(peers, chosen.peers, name) for name in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        write_sources(source)
        before = {path.name: judge(path, program) for path in sorted(source.iterdir())}
        total = sum(one.errors for one in before.values())
        print(f"pydicom {version('pydicom')}: {len(before)} files, {total} errors")
        print(f"{'tool':32} {'out':>6} {'left out':>9} {'made worse':>11} {'unknown':>8}   errors")
        for name, run in runs.items():
            cells, worse = row(run, source, before, program)
            print(f"{name:32} {cells}", flush=True)
            if worse and name.startswith("reidscope"):
                print(f"{'':32} worse: {', '.join(worse)}")


if __name__ == "__main__":
    main()
