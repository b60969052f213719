"""The link file: whose photo is whose, as the site itself knows it (`patient_id,photo[,group]`)."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from reidscope_protocols.errors import LinkError
from reidscope_site.sources.facts import patient_identity

_COLUMNS = ["patient_id", "photo"]
_GROUPED = [*_COLUMNS, "group"]
_PARTICIPANT = "sub-"
_LONGEST_GROUP = 64
_NUMBERS = {2: "two", 3: "three"}
_Row = tuple[int, Mapping[str | None, str | None]]
_T = TypeVar("_T")


def read_links(path: Path, photos: Path) -> Mapping[str, Path]:
    """Read a link file into photo paths by the site's own PatientID.

    Parameters
    ----------
    path : Path
        CSV, UTF-8, with the header `patient_id,photo` or `patient_id,photo,group`; `photo` is a
        name inside `photos`, and may be empty where the row names a group.
    photos : Path
        Folder of photos.

    Returns
    -------
    mapping of str to Path
        A patient ID, or a BIDS participant's label with or without `sub-`, to a photo.

    Raises
    ------
    LinkError
        Another header, an empty field, a patient or a photo twice, a photo that is not there or
        lies outside the folder. Says how many rows and which row number; never what stands there.

    Privacy
    -------
    Holds the site's own PatientIDs: stays in memory and never leaves the site (docs/privacy.md,
    "What stays at the site").
    """
    columns, rows = _rows(path)
    links: dict[str, Path] = {}
    met: set[str] = set()
    seen: set[Path] = set()
    root = photos.resolve()
    for number, row in rows:
        patient, name = patient_identity(row["patient_id"] or ""), (row["photo"] or "").strip()
        photo = _inside(root, name)
        alone = not name and bool(_group(row))
        wrong = (
            f"more than {_NUMBERS[len(columns)]} fields"
            if None in row
            else "an empty field"
            if not patient or not (name or alone)
            else "a patient who stood there before"
            if patient in met
            else None
            if alone
            else "a photo that stood there before"
            if photo in seen
            else "a photo outside the photos folder"
            if photo is None or root not in photo.parents
            else "a photo that does not exist"
            if not photo.is_file()
            else None
        )
        met.add(patient)
        if alone and not wrong:
            continue
        if wrong or photo is None:
            raise LinkError(
                f"link file, line {number}",
                got=wrong or "no photo",
                expected="one row a person and an existing photo of that person alone",
                do="correct the line",
            )
        links[patient] = photo
        seen.add(photo)
    return links


def read_groups(path: Path) -> Mapping[str, str]:
    """Read the words of a link file's column `group`, by PatientID; nothing without the column.

    Raises
    ------
    LinkError
        A word of more than 64 characters, or of more than one line.

    Privacy
    -------
    About people: stays at the site; a study's groups look at it (docs/privacy.md, "Groups").
    """
    columns, rows = _rows(path)
    if columns != _GROUPED:
        return {}
    groups = {patient_identity(row["patient_id"] or ""): _group(row) for _, row in rows}
    for (number, _), word in zip(rows, groups.values(), strict=False):
        if len(word) > _LONGEST_GROUP or not word.isprintable():
            raise LinkError(
                f"link file, line {number}",
                got="a group that is no short word",
                expected=f"at most {_LONGEST_GROUP} printable characters",
                do="correct the line",
            )
    return groups


def _rows(path: Path) -> tuple[list[str], list[_Row]]:
    """Read a link file's columns, and its rows with their line numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            header = list(reader.fieldnames or [])
            rows: list[_Row] = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error):
        # The reason could quote the file's path or bytes; the kind of fault says enough.
        raise LinkError(
            "link file",
            got="no readable UTF-8 CSV file",
            expected="one with the header patient_id,photo",
            do="correct `links` in site.toml or the file",
        ) from None
    if header not in (_COLUMNS, _GROUPED):
        raise LinkError(
            "link file",
            got=f"a header of {len(header)} columns that is not patient_id,photo",
            expected="the header patient_id,photo or patient_id,photo,group",
            do="correct the first line: these words, in these letters, with commas between them",
        )
    return header, rows


def _group(row: Mapping[str | None, str | None]) -> str:
    return unicodedata.normalize("NFC", row.get("group") or "").strip()


def _inside(root: Path, name: str) -> Path | None:
    """Resolve a name below `root`; None where it can be no file's name."""
    try:
        photo = (root / name).resolve()
        photo.is_file()
    except (OSError, ValueError, RuntimeError):
        # Too long, a NUL, a loop of links: the error's text would quote the name.
        return None
    return photo


def known_links(links: Mapping[str, _T], known: Collection[str]) -> Mapping[str, _T]:
    """Name people as their source does: a BIDS participant may stand there without `sub-`.

    Raises
    ------
    LinkError
        A row names nobody, or two rows name one person.
    """
    named: dict[str, _T] = {}
    for number, (patient, linked) in enumerate(links.items(), start=1):
        name = f"{_PARTICIPANT}{patient}"
        who = name if patient not in known and name in known else patient
        if who in named:
            raise LinkError(
                "link file",
                got=f"a participant with and without {_PARTICIPANT} (row {number})",
                expected="one row a person",
                do="remove one of the rows",
            )
        named[who] = linked
    refuse_unknown(named, known)
    return named


def refuse_unknown(links: Mapping[str, object], known: Collection[str]) -> None:
    """Raise LinkError if a row names nobody of the data folder."""
    unknown = [number for number, patient in enumerate(links, start=1) if patient not in known]
    if unknown:
        raise LinkError(
            "link file",
            got=f"{len(unknown)} rows that name nobody in the data (first: row {unknown[0]} below"
            " the header, empty lines left out)",
            expected="every row to name a patient with DICOM files",
            do="remove the rows or add the files, then index again",
        )
