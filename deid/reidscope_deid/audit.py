"""The audit: outputs read again by pydicom, and compared with the originals where there are any.

Judged alone, a file must hold no private element, nothing outside the profile, rebuilt file meta
information and a declaration. Against the originals, no identifying value of theirs may stand
anywhere in the bytes of an output, no date and no instance UID may be as it was, UIDs must map one
to one, and pixels must be the same unless the output declares what was done with them. A finding
says which tag and what is wrong; it never holds a value.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reidscope_deid.allowed import load_allow_list, load_codes
from reidscope_deid.identifiers import (
    Original,
    inflated_content,
    pixels_start,
    read_original,
)
from reidscope_deid.profile import Profile, load_profile
from reidscope_deid.verification import (
    Finding,
    declared_pixel_codes,
    file_findings,
    read_again,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydicom.dataset import FileDataset

    from reidscope_deid.uids import UidMap

    Found = Counter[tuple[int | None, Finding]]

_PIXELS = 0x7FE00010
_INSTANCE = (0x00080018,)
_SCANNED_WHOLE = 8
"""Identifiers of so many bytes are looked for in pixels too; shorter ones occur there by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What the audit found.

    Attributes
    ----------
    files : int
        Outputs read.
    compared : int
        Outputs whose original was found by its pixels.
    findings : mapping
        Occurrences by (tag as eight hexadecimal digits or empty, what is wrong).
    """

    files: int
    compared: int
    findings: Mapping[tuple[str, Finding], int]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def document(self) -> dict[str, object]:
        """Say the report as JSON takes it."""
        return {
            "schema": "reidscope.deid-audit/1",
            "files": self.files,
            "compared": self.compared,
            "findings": [
                {"tag": tag, "code": finding.value, "count": count}
                for (tag, finding), count in self.findings.items()
            ],
        }


def audit_output(
    out_files: Iterable[Path],
    against: Sequence[Path] | None = None,
    *,
    profile: Profile | None = None,
    uids: UidMap | None = None,
) -> AuditReport:
    """Read outputs again and say what is wrong with them.

    Parameters
    ----------
    out_files : iterable of Path
        De-identified files.
    against : sequence of Path, optional
        Their originals, in any order; files that are no DICOM do not count.
    profile : Profile, optional
        What they were written under; ``basic`` if not given.
    uids : UidMap, optional
        Of the key that they were written under: each output is then compared with its very
        original, and one without is a finding. Without it, originals are found by their pixels.

    Returns
    -------
    AuditReport
        Clean if nothing was found.

    Privacy
    -------
    Reads the originals' identifiers to look for them; the report holds tags and constants alone.
    """
    profile = profile if profile is not None else load_profile("basic")
    originals = _Originals.read(against or (), profile, uids)
    forward: dict[bytes, bytes] = {}
    found: Found = Counter()
    files = compared = 0
    for path in out_files:
        files += 1
        try:
            data_set = read_again(path)
            found.update(file_findings(data_set, profile))
            if against is not None:
                compared += originals.compare(path, data_set, forward, found)
        except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
            found[None, Finding.UNREADABLE] += 1
    if len(set(forward.values())) != len(forward):
        found[None, Finding.UID_INCONSISTENT] += 1
    return AuditReport(files=files, compared=compared, findings=_ordered(found))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Originals:
    """What the originals hold: by their pixels, and the identifiers of all of them."""

    profile: Profile
    by_pixels: Mapping[tuple[bytes, bytes], Original | None]
    by_instance: Mapping[bytes, Original] | None
    identifiers: Mapping[bytes, int]
    plain: frozenset[bytes]

    @classmethod
    def read(cls, paths: Sequence[Path], profile: Profile, uids: UidMap | None) -> _Originals:
        read = [one for path in paths if (one := read_original(path, profile)) is not None]
        identifiers = {value: tag for one in read for value, tag in one.identifiers.items()}
        common = {value for one in read for value in one.kept_values}
        public = b"\n".join((_public_text(profile), *(v for one in read for v in one.retained)))
        return cls(
            profile=profile,
            by_pixels=_by_pixels(read),
            by_instance=None if uids is None else _by_instance(read, uids),
            identifiers=identifiers,
            # Words that public constants or kept elements hold too are looked for where neither
            # can stand; every other identifier, in every byte.
            plain=frozenset(value for value in identifiers if value in common or value in public),
        )

    def compare(
        self, path: Path, data_set: FileDataset, forward: dict[bytes, bytes], found: Found
    ) -> bool:
        """Compare one output; True if its original was found by its pixels."""
        new = read_original(path, self.profile)
        if new is None:
            found[None, Finding.UNREADABLE] += 1
            return False
        replaced = b"\n".join(new.identifiers)
        content, header = _scanned(path, data_set)
        for value, tag in self.identifiers.items():
            where = (replaced, replaced) if value in self.plain else (content, header)
            if _survives(value, *where):
                found[tag, Finding.IDENTIFIER_SURVIVES] += 1
        old = self._found(new, found, touched=bool(declared_pixel_codes(data_set)))
        if old is None:
            return False
        _compare(old, new, forward, found, modified=self.profile.calendar.moves)
        return True

    def _found(self, new: Original, found: Found, *, touched: bool) -> Original | None:
        """Find the original of an output; pixels may differ only where the output says so."""
        place = (new.pixels, new.number)
        if self.by_instance is None:
            if place not in self.by_pixels and not touched:
                found[_PIXELS, Finding.PIXELS_CHANGED] += 1
            return self.by_pixels.get(place)
        old = self.by_instance.get(new.uids.get(_INSTANCE, b""))
        if old is None:
            found[None, Finding.NO_ORIGINAL] += 1
        elif old.pixels != new.pixels and not touched:
            found[_PIXELS, Finding.PIXELS_CHANGED] += 1
        return old


def _by_instance(originals: list[Original], uids: UidMap) -> dict[bytes, Original]:
    """Original by the instance UID that its output has."""
    return {uids(one.uids.get(_INSTANCE, b"")): one for one in originals}


def _by_pixels(originals: list[Original]) -> dict[tuple[bytes, bytes], Original | None]:
    """Original by its pixels and instance number; None where several share both."""
    found: dict[tuple[bytes, bytes], Original | None] = {}
    for one in originals:
        place = (one.pixels, one.number)
        found[place] = None if place in found else one
    return found


def _public_text(profile: Profile) -> bytes:
    """Everything that our own data files can put into an output, the form of CS apart."""
    texts = [term for kept in load_allow_list().attributes.values() for term in kept.terms]
    texts += [part for (_, code), meaning in load_codes().items() for part in (code, meaning)]
    texts += [part.encode("ascii") for code in profile.method_codes for part in code]
    return b"\n".join(texts)


def _scanned(path: Path, data_set: FileDataset) -> tuple[bytes, bytes]:
    content = inflated_content(path, data_set)
    start = pixels_start(data_set)
    return content, content if start is None else content[:start]


def _survives(value: bytes, content: bytes, header: bytes) -> bool:
    if len(value) >= _SCANNED_WHOLE:
        return value in content
    word = rb"(?<![0-9A-Za-z])" + re.escape(value) + rb"(?![0-9A-Za-z])"
    return re.search(word, header) is not None


def _compare(
    old: Original, new: Original, forward: dict[bytes, bytes], found: Found, *, modified: bool
) -> None:
    for place, value in new.dates.items():
        # A first of January may be as it was where only years are written.
        first = value[4:] == b"0101"
        if modified and value and not first and old.dates.get(place) == value:
            found[place[-1], Finding.DATE_UNCHANGED] += 1
    for place, uid in new.uids.items():
        before = old.uids.get(place)
        if before is None or not uid:
            continue
        if uid == before:
            found[place[-1], Finding.UID_UNCHANGED] += 1
        elif forward.setdefault(before, uid) != uid:
            found[place[-1], Finding.UID_INCONSISTENT] += 1


def _ordered(found: Found) -> dict[tuple[str, Finding], int]:
    named = {
        ("" if tag is None else f"{tag:08X}", what): count for (tag, what), count in found.items()
    }
    return dict(sorted(named.items()))
