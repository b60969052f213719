"""A score in the style of MIDI-B, on a generated corpus with an answer key: us and peers.

    python benchmarks/deid_midib.py --peers peers-venv/bin/python [--people 8] [--failures]

`published`: passed / total over the ten actions, judged as the challenge's validator judges (text
by tokens; a date or a UID has changed if the old one is not there; what is not there passes every
removal). `strict`: a file that is missing fails all of its answers; a date must be the old one plus
one number of days, the same for everything of that person; a UID must be there and another one.
Text in pixels counts as hidden if the ink cannot be told from what surrounds it: no OCR is needed
for that, and none could miss it.

Last, what `reidscope-deid verify --any-tool` finds in each tool's outputs, by kind.

This is our own corpus and our own answer key, so the figures compare tools with each other, not
with those of the challenge, and say nothing of texts that nobody here thought of. Tools run with
their defaults, ours under the options named.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pydicom
from deid_peers import tools
from midib_corpus import Answer, Instance, write_corpus
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from reidscope_deid.audit import audit_output
from reidscope_deid.keys import SiteKey
from reidscope_deid.pixel_change import PixelStage
from reidscope_deid.profile import load_profile
from reidscope_deid.tree import deidentify_tree
from reidscope_deid.uids import UidMap

ACTIONS = [
    "tag_retained",
    "text_notnull",
    "text_retained",
    "text_removed",
    "date_shifted",
    "uid_changed",
    "pixels_hidden",
    "pixels_retained",
    "uid_consistent",
    "patid_consistent",
]
STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "for",
        "from",
        "in",
        "of",
        "on",
        "or",
        "road",
        "the",
        "to",
        "with",
        "dr",
    ]
)
LIKENESS = 0.15
"""Correlation of ink and samples from which on text counts as still there."""
PEERS = ("dicognito", "dicom-anonymizer", "deid", "pydicom read + save")
Outputs = dict[str, Dataset]
MORE = ("clean_descriptors", "retain_patient_characteristics", "retain_safe_private")
KEY = SiteKey(bytes(range(32)))


@dataclass(slots=True)
class Score:
    """Passed and failed, by action, in both readings."""

    passed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    total: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)

    def share(self, reading: str) -> float:
        """Give passed of total, in percent."""
        return 100 * self.passed[reading].total() / self.total.total()


def ours(options: tuple[str, ...], source: Path, out: Path) -> Outputs:
    """Run our engine, and find each output by the UID that its original has under the key."""
    profile = load_profile("basic", options)
    stages: tuple[PixelStage, ...] = ()
    if "clean_pixel_data" in options:
        from reidscope_deid.burned_in import clean_pixels, load_policy  # noqa: PLC0415 - an extra

        stages = (partial(clean_pixels, policy=load_policy()),)
    deidentify_tree(source, out, key=KEY, profile=profile, stages=stages, durable=False)
    uids = UidMap(KEY)
    written = {path.stem: path for path in out.rglob("*.dcm")}
    found = {}
    for path in source.iterdir():
        old = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        new = uids(str(old).encode()).decode()
        if new in written:
            found[path.name] = pydicom.dcmread(written[new])
    return found


def peers(python: str, name: str, source: Path, out: Path) -> Outputs | str:
    """Run a peer over the folder."""
    said = tools(python)[name](source, out)
    if "missing" in said:
        return str(said["missing"])
    return {path.name: pydicom.dcmread(path) for path in out.iterdir()}


def score(corpus: list[Instance], source: Path, outputs: Outputs) -> Score:
    """Judge every answer in both readings."""
    result, facts = Score(), _Facts.of(corpus, outputs)
    for instance in corpus:
        output = outputs.get(instance.name)
        original = pydicom.dcmread(source / instance.name)
        for answer in instance.answers:
            result.total[answer.action] += 1
            loose = _judged(answer, instance, original, output, facts, strict=False)
            strict = output is not None and _judged(
                answer, instance, original, output, facts, strict=True
            )
            result.passed["published"][answer.action] += loose
            result.passed["strict"][answer.action] += strict
            if not strict:
                where = _named(answer) if output is not None else "file left out"
                result.failures[answer.action, where] += 1
    return result


@dataclass(frozen=True, slots=True)
class _Facts:
    """What can be said of the whole set alone."""

    uids: Mapping[str, str]
    shared: frozenset[str]
    people: Mapping[int, str]
    same_name: frozenset[str]
    days: Mapping[int, int]

    @classmethod
    def of(cls, corpus: list[Instance], outputs: Outputs) -> _Facts:
        uids: dict[str, Counter[str]] = defaultdict(Counter)
        people: dict[int, Counter[str]] = defaultdict(Counter)
        days: dict[int, Counter[int]] = defaultdict(Counter)
        for one in corpus:
            output = outputs.get(one.name)
            if output is None:
                continue
            for answer in one.answers:
                value = _value(output, answer)
                if answer.action == "uid_consistent" and value:
                    uids[answer.value][value] += 1
                elif answer.action == "patid_consistent" and value:
                    people[one.person][value] += 1
                elif answer.action == "date_shifted" and (moved := _days(answer.value, value)):
                    days[one.person][moved] += 1
        new = {old: found.most_common(1)[0][0] for old, found in uids.items()}
        names = {person: found.most_common(1)[0][0] for person, found in people.items()}
        return cls(
            uids=new,
            shared=_twice(new.values()),
            people=names,
            same_name=_twice(names.values()),
            days={person: found.most_common(1)[0][0] for person, found in days.items()},
        )


def _judged(  # noqa: PLR0911, C901 - one return an action: a table, not a flow
    answer: Answer,
    instance: Instance,
    original: Dataset,
    output: Dataset | None,
    facts: _Facts,
    *,
    strict: bool,
) -> bool:
    value = None if output is None else _value(output, answer)
    match answer.action:
        case "tag_retained":
            return value is not None
        case "text_notnull":
            return bool(value)
        case "text_retained":
            return _tokens(answer.value) <= _tokens(value or "")
        case "text_removed":
            return not _tokens(answer.value) & _tokens(value or "")
        case "date_shifted":
            if not strict:
                return answer.value not in (value or "")
            moved = _days(answer.value, value)
            return bool(moved) and moved == facts.days.get(instance.person)
        case "uid_changed":
            return answer.value != (value or "") and (bool(value) or not strict)
        case "uid_consistent":
            return (
                bool(value) and value == facts.uids.get(answer.value) and value not in facts.shared
            )
        case "patid_consistent":
            named = facts.people.get(instance.person)
            return bool(value) and value == named and value not in facts.same_name
        case "pixels_hidden":
            return output is None or _hidden(instance, output)
        case _:
            return output is not None and output.get("PixelData") == original.PixelData


def _value(output: Dataset, answer: Answer) -> str | None:
    """Text at a place; None if it is not there."""
    if not answer.place:
        return None
    level = output
    *above, tag = answer.place
    for sequence, index in zip(above[::2], above[1::2], strict=True):
        if sequence not in level or len(level[sequence].value or ()) <= index:
            return None
        level = level[sequence].value[index]
    if tag not in level:
        return None
    value = level[tag].value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return " ".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _tokens(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9.]+", text.lower())) - STOP


def _days(before: str, after: str | None) -> int | None:
    """Days between two dates whose time of day is the same; None where there are not two."""
    try:
        one, other = (
            date(int(text[:4]), int(text[4:6]), int(text[6:8])) for text in (before, after or "")
        )
    except ValueError:
        return None
    return None if before[8:] != (after or "")[8:] else (other - one) // timedelta(days=1)


def _hidden(instance: Instance, output: Dataset) -> bool:
    """Whether the ink of the text cannot be told from its surroundings any more."""
    # Safety: answers of text in pixels stand in files that have ink alone.
    assert instance.ink is not None
    try:
        samples = output.pixel_array.astype(np.float64)
    except Exception:  # noqa: BLE001 - whatever a tool left of the pixels
        return True
    if samples.shape != instance.ink.shape:
        return False
    rows, columns = np.nonzero(instance.ink)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    shown, ink = samples[box].ravel(), instance.ink[box].ravel()
    if np.ptp(shown) == 0:
        return True
    return bool(abs(np.corrcoef(shown, ink)[0, 1]) < LIKENESS)


def _twice(values: object) -> frozenset[str]:
    counts = Counter(values)  # type: ignore[call-overload]  # any iterable of str
    return frozenset(one for one, count in counts.items() if count > 1)


def _named(answer: Answer) -> str:
    if not answer.place:
        return "PixelData"
    tag = answer.place[-1]
    return keyword_for_tag(tag) or f"private {tag:08X}"


def runs(python: str) -> dict[str, Callable[[Path, Path], Outputs | str]]:
    """Everything that is compared."""
    found: dict[str, Callable[[Path, Path], Outputs | str]] = {
        "reidscope basic": partial(ours, ()),
        "reidscope basic + 3 options": partial(ours, MORE),
    }
    if find_spec("rapidocr") is not None:
        found["reidscope basic + 4 options"] = partial(ours, (*MORE, "clean_pixel_data"))
    return found | {name: partial(peers, python, name) for name in PEERS}


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # pydicom, of the texts planted
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=sys.executable, help="Python that has the peers")
    parser.add_argument("--people", type=int, default=8, help="people, eleven files each")
    parser.add_argument("--failures", action="store_true", help="what each tool fails")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        corpus = write_corpus(source, chosen.people)
        answers = sum(len(one.answers) for one in corpus)
        print(f"{chosen.people} people, {len(corpus)} files, {answers} answers")
        results: dict[str, Score] = {}
        audits: dict[str, Counter[str]] = {}
        for index, (name, run) in enumerate(runs(chosen.peers).items()):
            out = Path(folder, f"out{index}")
            out.mkdir()
            outputs = run(source, out)
            if isinstance(outputs, str):
                print(f"{name}: {outputs}")
                continue
            results[name] = score(corpus, source, outputs)
            audits[name] = _audited(source, out)
            print(f"{name}: {len(outputs)} of {len(corpus)} files written", flush=True)
        for reading in ("published", "strict"):
            _print_table(reading, results)
        _print_audits(audits)
        for name, result in results.items():
            if chosen.failures or name.startswith("reidscope"):
                print(f"\n{name} fails, strictly:")
                for (action, where), count in sorted(result.failures.items()):
                    print(f"  {action:18} {where:28} {count}")


def _audited(source: Path, out: Path) -> Counter[str]:
    """Audit with `verify --any-tool`, by kind, under the options that the answer key asks for."""
    written = sorted(path for path in out.rglob("*") if path.is_file())
    profile = load_profile("basic", MORE)
    report = audit_output(written, sorted(source.iterdir()), profile=profile, any_tool=True)
    found: Counter[str] = Counter()
    for (_, finding), count in report.findings.items():
        found[finding.value] += count
    return found


def _print_audits(audits: Mapping[str, Counter[str]]) -> None:
    names = (name.replace("reidscope ", "")[:17] for name in audits)
    print(f"\n{'verify --any-tool':20} " + " ".join(f"{name:>17}" for name in names))
    for kind in sorted({kind for found in audits.values() for kind in found}):
        print(f"{kind:20} " + " ".join(f"{found[kind]:17}" for found in audits.values()))


def _print_table(reading: str, results: Mapping[str, Score]) -> None:
    print(
        f"\n{reading:18} "
        + " ".join(f"{name.replace('reidscope ', '')[:17]:>17}" for name in results)
    )
    for action in ACTIONS:
        cells = (f"{one.passed[reading][action]}/{one.total[action]}" for one in results.values())
        print(f"{action:18} " + " ".join(f"{cell:>17}" for cell in cells))
    print(f"{'all':18} " + " ".join(f"{one.share(reading):16.2f}%" for one in results.values()))


if __name__ == "__main__":
    main()
