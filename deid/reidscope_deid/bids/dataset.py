"""A BIDS dataset in, a clean one out: what is written is whole, what is left out is counted.

Only anatomical images and PET, their sidecars, `participants.tsv`, `*_scans.tsv` and
`*_sessions.tsv` are offered; `dataset_description.json` is written anew. The rest is left out with
a reason.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.bids.labels import Labels, parse_image_name, participant
from reidscope_deid.bids.nifti import clean_nifti
from reidscope_deid.bids.sidecar import clean_sidecar
from reidscope_deid.bids.tables import clean_participants, clean_times
from reidscope_deid.pseudonyms import Namer, Person
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_protocols.durable import sync_folder, write_durably
from reidscope_protocols.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reidscope_deid.keys import SiteKey

_PET = "pet"
_DATA_TYPES = frozenset({"anat", _PET})
_DESCRIPTION = {
    "Name": "De-identified dataset",
    "BIDSVersion": "1.10.0",
    "DatasetType": "raw",
    "GeneratedBy": [{"Name": "reidscope-deid"}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BidsRecord:
    """What was done to a dataset: constants and counts alone.

    Attributes
    ----------
    written : mapping of str to int
        Files, by kind.
    left_out : mapping of Reason to int
        Files of which nothing was written.
    people : int
        Participants with a file in the output.
    contents : mapping of str to int
        Keys, columns, values and rows that were kept or dropped.
    """

    written: Counter[str]
    left_out: Counter[Reason]
    people: int
    contents: Counter[str]

    @property
    def failures(self) -> int:
        """Files left out that are not sound."""
        return sum(count for reason, count in self.left_out.items() if not reason.by_design)

    def document(self) -> dict[str, object]:
        """JSON of the record."""
        return {
            "schema": "reidscope.bids-record/1",
            "written": dict(sorted(self.written.items())),
            "left_out": {reason.value: count for reason, count in sorted(self.left_out.items())},
            "people": self.people,
            "contents": dict(sorted(self.contents.items())),
        }


@dataclass(slots=True)
class _Run:
    source: Path
    out: Path
    labels: Labels
    namer: Namer
    written: Counter[str] = field(default_factory=Counter)
    left_out: Counter[Reason] = field(default_factory=Counter)
    contents: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)

    def attempt(self, kind: str, work: Callable[[], None]) -> bool:
        """Do one file; what it is left out for is counted."""
        try:
            work()
        except QuarantinedError as left_out:
            self.left_out[left_out.reason] += 1
            return False
        self.written[kind] += 1
        return True

    def place(self, relative: Path) -> Path:
        """Free place in the output, its folder made."""
        target = self.out / relative
        if target.exists():
            raise QuarantinedError(Reason.CONFLICT)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return target


def clean_dataset(
    source: Path,
    out: Path,
    *,
    key: SiteKey,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> BidsRecord:
    """Write a clean copy of a BIDS dataset.

    Parameters
    ----------
    source : Path
        The dataset; only read. Links are followed inside it alone.
    out : Path
        New or empty, outside `source`.
    key : SiteKey
        Names people and moves their dates as it does in DICOM: a participant's label counts as the
        patient ID.
    progress : callable
        Called with participants done and participants in all.

    Raises
    ------
    InputError
        `source` holds no participant, or `out` is not free.

    Privacy
    -------
    Voxels are copied: faces stay. Which files a participant has, and when by moved dates, stays too
    (docs/privacy.md, "De-identification").
    """
    subjects = _subjects(source)
    _check_free(source, out)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    run = _Run(source=source.resolve(), out=out, labels=Labels(key), namer=Namer.of(key))
    others = [path for path in source.iterdir() if path not in subjects]
    for number, subject in enumerate(subjects, start=1):
        _subject(run, subject)
        progress(number, len(subjects))
    for path in sorted(others):
        if path.name == "participants.tsv":
            run.attempt("tables", partial(_participants, run, path))
        elif path.name != "dataset_description.json":
            run.left_out[Reason.NOT_OFFERED] += 1 if path.is_file() else _count(path)
    if run.met:
        content = (json.dumps(_DESCRIPTION, indent=1) + "\n").encode()
        write_durably(out / "dataset_description.json", content)
    return BidsRecord(
        written=run.written,
        left_out=run.left_out,
        people=len(run.met),
        contents=run.contents,
    )


def _subjects(source: Path) -> list[Path]:
    try:
        found = sorted(path for path in source.iterdir() if path.name.startswith("sub-"))
    except OSError:
        found = []
    folders = [path for path in found if path.is_dir() and not path.is_symlink()]
    if not folders:
        raise InputError(
            "the dataset",
            got="no folder sub-*",
            expected="a BIDS dataset",
            do="name the folder that holds dataset_description.json",
        )
    return folders


def _check_free(source: Path, out: Path) -> None:
    inside = source.resolve() in out.resolve().parents or source.resolve() == out.resolve()
    if inside or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise InputError(
            "the output folder",
            got="a folder inside the dataset" if inside else "one that is not empty",
            expected="a new or empty folder outside the dataset",
            do="name another",
        )


def _subject(run: _Run, folder: Path) -> None:
    """Clean everything of one participant, images before the tables that list them."""
    label = folder.name.removeprefix("sub-")
    try:
        person = run.namer.patient(label)
    except QuarantinedError as left_out:
        run.left_out[left_out.reason] += _count(folder)
        return
    files = sorted(_files(folder))
    renamed: dict[Path, str] = {}
    for path in files:
        if _data_type(path.relative_to(folder).parts):
            _scan(run, path, folder, person, renamed)
    for path in files:
        place = path.relative_to(folder).parts
        if _data_type(place):
            continue
        if folder.name in run.met and _is_table(path, place, folder.name):
            run.attempt("tables", partial(_times, run, path, place, person, renamed))
        else:
            run.left_out[Reason.NOT_OFFERED] += 1


def _scan(run: _Run, path: Path, folder: Path, person: Person, renamed: dict[Path, str]) -> None:
    """Clean one image or sidecar; `renamed` learns its new name."""

    def work() -> None:
        place = path.relative_to(folder).parts
        session, kind = _session(place), _data_type(place)
        image = parse_image_name(path.name)
        if (image.suffix == _PET) is not (kind == _PET):
            raise QuarantinedError(Reason.NOT_OFFERED)
        if (f"sub-{image.subject}", image.session) != (folder.name, session):
            raise QuarantinedError(Reason.MALFORMED)
        new = run.labels.image(image, person)
        subject = f"sub-{participant(person)}"
        _image(run, path, Path(subject, *_new_session(run, session), kind, new))
        renamed[path] = new

    if run.attempt("sidecars" if path.suffix == ".json" else "images", work):
        run.met.add(folder.name)


def _image(run: _Run, path: Path, relative: Path) -> None:
    real = path.resolve()
    if run.source not in real.parents or not real.is_file():
        raise QuarantinedError(Reason.UNREADABLE)
    if path.suffix == ".json":
        content = clean_sidecar(path, run.contents)
        write_durably(run.place(relative), content)
        return
    target = run.place(relative)
    arriving = run.out / f".{secrets.token_hex(8)}{''.join(path.suffixes[-2:])}"
    clean_nifti(path, arriving)
    arriving.rename(target)
    sync_folder(target.parent)


def _participants(run: _Run, path: Path) -> None:
    def renamed(text: str) -> str | None:
        if text not in run.met:
            return None
        return f"sub-{participant(run.namer.patient(text.removeprefix('sub-')))}"

    content = clean_participants(path, renamed, run.contents)
    write_durably(run.place(Path("participants.tsv")), content)


def _times(
    run: _Run, path: Path, place: tuple[str, ...], person: Person, renamed: dict[Path, str]
) -> None:
    session = _session(place)
    name = f"sub-{participant(person)}"
    new_session = _new_session(run, session)
    if path.name.endswith("_sessions.tsv"):
        column, kind = "session_id", "sessions.tsv"

        def about(text: str) -> str | None:
            label = text.removeprefix("ses-")
            return f"ses-{run.labels.label('ses', label)}" if label else None
    else:
        column, kind = "filename", "scans.tsv"

        def about(text: str) -> str | None:
            new = renamed.get(path.parent / text)
            return None if new is None else f"{text.partition('/')[0]}/{new}"

    content = clean_times(path, column, about, person.shift_days, run.contents)
    target = Path(name, *new_session, "_".join([name, *new_session, kind]))
    write_durably(run.place(target), content)


def _session(place: tuple[str, ...]) -> str:
    first = place[0]
    return first.removeprefix("ses-") if first.startswith("ses-") and len(place) > 1 else ""


def _new_session(run: _Run, session: str) -> list[str]:
    return [f"ses-{run.labels.label('ses', session)}"] if session else []


def _data_type(place: tuple[str, ...]) -> str:
    """Name the folder of images that a file lies in; empty where it is none that is offered."""
    *folders, _ = place
    if len(folders) == 2 and folders[0].startswith("ses-"):  # noqa: PLR2004 - a session and its own
        del folders[0]
    return folders[0] if len(folders) == 1 and folders[0] in _DATA_TYPES else ""


def _is_table(path: Path, place: tuple[str, ...], subject: str) -> bool:
    session = [place[0]] if len(place) > 1 else []
    names = {"_".join([subject, *session, "scans.tsv"])}
    if not session:
        names.add(f"{subject}_sessions.tsv")
    own = len(place) == 1 + len(session) and not path.is_symlink()
    return own and path.name in names


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in names)


def _count(folder: Path) -> int:
    """Files below a folder that is left out; at least the folder itself."""
    return max(1, sum(1 for _ in _files(folder)))
