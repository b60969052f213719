"""Mutated DICOM: every input comes out verified, or is left out with a reason; nothing else.

    python benchmarks/deid_fuzz.py [--minutes 5] [--seed 1] [--save FOLDER]

Seeds are the DICOM files that pydicom ships (up to 128 kB) and the tests' planted slices in four
transfer syntaxes. Each input is a seed with a few mutations: bytes, lengths, chunks moved, doubled,
cut or taken from another seed. A failure is any exception but a quarantine, anything left in the
output folder, more than ten seconds or 1.5 GB, or, under the Basic profile, a planted
token in the output outside its samples (a mutation can make pixels of anything: which samples are
words is not judged). One process; the same seed number gives the same inputs.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom

from reidscope_deid import QuarantinedError, SiteKey, deidentify_files, load_profile
from reidscope_deid.identifiers import inflated_content
from reidscope_deid.options import OFFERED
from reidscope_deid.series import Deidentifier

if TYPE_CHECKING:
    from types import FrameType

    from reidscope_deid import Profile

LARGEST = 128 << 10  # bytes
MEMORY = 3 << 29  # bytes
LONGEST = 10  # seconds
META_END = 340  # bytes: most mutations go behind the file meta information
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
DEFLATED = "1.2.840.10008.1.2.1.99"
INTERESTING = (b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0")
INTERESTING += (b"\xfe\xff\x0d\xe0", b"SQ", b"UN", b"OB", b"PN", b"\xff\xd9", b"\xff\x90", b"\x80")


class TooSlowError(Exception):
    """An input took longer than it may."""


def read_seeds() -> tuple[list[bytes], list[bytes]]:
    """Files that are mutated, and the tokens planted in some of them."""
    folder = Path(pydicom.__file__).parent / "data"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    seeds = [path.read_bytes() for path in files if path.stat().st_size <= LARGEST]
    seeds = [one for one in seeds if one[128:132] == b"DICM"]
    spec = importlib.util.spec_from_file_location(
        "planted_corpus", Path(__file__).parents[1] / "tests" / "deid" / "conftest.py"
    )
    # Safety: a file of this project.
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tokens: list[bytes] = []
    for syntax in (*SYNTAXES, DEFLATED):
        content, planted = module.planted(syntax)
        seeds += [content] * 8
        tokens = list(planted)
    return seeds, tokens


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One seed with one to eight mutations."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        if len(data) < META_END + 8:
            break
        at = rng.randrange(META_END if rng.random() < 0.9 else 128, len(data))  # noqa: PLR2004 - as META_END says
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 16, 64, 512)))
        kind = rng.choice((0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:  # noqa: PLR2004 - kinds, as they come
            value = rng.choice(INTERESTING)
            data[at : at + len(value)] = value
        elif kind == 3:  # noqa: PLR2004 - kinds, as they come
            data[at:end] = (rng.randrange(1 << 16)).to_bytes(4, "little")[: end - at]
        elif kind == 4:  # noqa: PLR2004 - kinds, as they come
            del data[at:end]
        elif kind == 5:  # noqa: PLR2004 - kinds, as they come
            data[at:at] = data[at:end]
        elif kind == 6:  # noqa: PLR2004 - kinds, as they come
            other = rng.choice(seeds)
            start = rng.randrange(len(other))
            data[at:at] = other[start : start + (end - at)]
        else:
            del data[at:]
    return bytes(data)


def repeated(content: bytes, folder: Path, warm: Deidentifier) -> bytes | str:
    """Say what becomes of an input after many others: the bytes, or the reason."""
    source, target = folder / "in.dcm", folder / "repeated.dcm"
    source.write_bytes(content)
    try:
        warm.write_new(source, target, durable=False)
    except QuarantinedError as left_out:
        return left_out.reason.value
    written = target.read_bytes()
    target.unlink()
    return written


def examine(
    content: bytes, folder: Path, profile: Profile, warm: Deidentifier, tokens: list[bytes]
) -> str:
    """De-identify one input and say what became of it: a reason, ``written``, or a failure."""
    source, out = folder / "in.dcm", folder / "out"
    source.write_bytes(content)
    out.mkdir(exist_ok=True)
    signal.alarm(LONGEST)
    try:
        done = deidentify_files([source], out, key=SiteKey(bytes(32)), profile=profile)
        said = "written"
        if repeated(content, folder, warm) != done.files[0].read_bytes():
            said = "FAILED: another output after others"
        if not profile.judges_words:
            new = pydicom.dcmread(done.files[0])
            output = inflated_content(done.files[0], new)
            header = output.replace(new.get("PixelData") or b"-", b"")
            if any(token in header for token in tokens):
                said = "FAILED: token"
            elif any(token in output for token in tokens):
                said = "written, a token among the samples"
    except QuarantinedError as left_out:
        said = left_out.reason.value
        if repeated(content, folder, warm) != said:
            said = "FAILED: another verdict after others"
        if any(out.rglob("*.dcm")) or any(out.glob(".*")):
            said = "FAILED: left behind"
    except Exception as error:  # noqa: BLE001 - exactly what is looked for
        said = f"FAILED: {type(error).__name__}"
    finally:
        signal.alarm(0)
    shutil.rmtree(out)
    return said


def too_slow(_number: int, _frame: FrameType | None) -> None:
    """End an input that takes too long."""
    raise TooSlowError


def run(minutes: float, seed: int, save: Path | None, say: Callable[[str], None]) -> bool:
    """Fuzz for so long; True if nothing failed."""
    seeds, tokens = read_seeds()
    everything = tuple(name for name in OFFERED if name != "retain_longitudinal_full_dates")
    profiles = [load_profile("basic"), load_profile("basic"), load_profile("basic", everything)]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, too_slow)
    warm = [Deidentifier.of(SiteKey(bytes(32)), profile) for profile in profiles]
    found: Counter[str] = Counter()
    slowest = 0.0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() - start < minutes * 60:
            number = found.total()
            rng = random.Random(f"{seed}/{number}")  # noqa: S311 - to be repeated, not to be secret
            content = mutated(rng, seeds)
            began = time.monotonic()
            which = number % len(profiles)
            said = examine(content, Path(folder), profiles[which], warm[which], tokens)
            slowest = max(slowest, time.monotonic() - began)
            found[said] += 1
            if said.startswith(("FAILED", "unverified")) and save is not None:
                (save / f"{seed}-{number}.dcm").write_bytes(content)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{found.total()} inputs from {len(seeds)} seeds, slowest {slowest:.2f} s, {peak:.0f} MB")
    for said, count in found.most_common():
        say(f"{count:8}  {said}")
    return not any(said.startswith("FAILED") for said in found)


def main() -> None:
    """Fuzz and say what was found; exit 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--save", type=Path, help="folder for inputs that failed, or were written and not verified"
    )
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    sound = run(chosen.minutes, chosen.seed, chosen.save, print)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
