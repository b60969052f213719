"""The audit: outputs read again by pydicom, and compared with the originals where there are any.

Judged alone, a file must hold no private element, nothing outside the profile, rebuilt file meta
information and a declaration. Against the originals, no identifying value of theirs may stand
anywhere in the bytes of an output, and what `comparison` says of pixels, UIDs, dates and people
must hold. Of files that another tool wrote, only the second is asked, so tools compare. A finding
says which tag and what is wrong; it never holds a value.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_deid.allowed import load_allow_list, load_codes
from reidscope_deid.comparison import Comparison
from reidscope_deid.conformance import find_validator, judge
from reidscope_deid.identifiers import (
    Original,
    inflated_content,
    pixels_start,
    read_original,
)
from reidscope_deid.profile import Profile, load_profile
from reidscope_deid.scan import WINDOW, Needles
from reidscope_deid.verification import (
    Finding,
    declared_pixel_codes,
    file_findings,
    read_again,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydicom.dataset import FileDataset

    from reidscope_deid.uids import UidMap

    Found = Counter[tuple[int | None, Finding]]

_PIXELS = 0x7FE00010
_INSTANCE = (0x00080018,)
_META_INSTANCE = 0x00020003


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What the audit found.

    Attributes
    ----------
    files : int
        Outputs read.
    compared : int
        Outputs whose original was found.
    findings : mapping
        Occurrences by (tag as eight hexadecimal digits or empty, what is wrong).
    errors : tuple of (int, int) or None
        `dciodvfy` errors of the originals and of their outputs, where that was asked.
    """

    files: int
    compared: int
    findings: Mapping[tuple[str, Finding], int]
    errors: tuple[int, int] | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def document(self) -> dict[str, object]:
        """Say the report as JSON takes it."""
        errors = {} if self.errors is None else {"dciodvfy_errors": list(self.errors)}
        return {
            "schema": "reidscope.deid-audit/2",
            "files": self.files,
            "compared": self.compared,
            "findings": [
                {"tag": tag, "code": finding.value, "count": count}
                for (tag, finding), count in self.findings.items()
            ],
            **errors,
        }


def audit_output(
    out_files: Iterable[Path],
    against: Sequence[Path] | None = None,
    *,
    profile: Profile | None = None,
    uids: UidMap | None = None,
    any_tool: bool = False,
    conformance: bool = False,
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
        original, and one without is a finding. Without it, originals are found by their pixels,
        and where several have the same, by instance number and geometry.
    any_tool : bool
        Whether somebody else's tool wrote the outputs: they are then not asked to say and to hold
        what ours say and hold, only not to leak.
    conformance : bool
        Whether `dciodvfy` counts errors in originals and outputs.

    Returns
    -------
    AuditReport
        Clean if nothing was found.

    Raises
    ------
    UnsupportedError
        `conformance` without the program.

    Privacy
    -------
    Reads the originals' identifiers to look for them; the report holds tags and constants alone
    (docs/privacy.md, "De-identification").
    """
    profile = profile if profile is not None else load_profile("basic")
    program = find_validator() if conformance else None
    originals = _Originals.read(against or (), profile, uids)
    comparison = Comparison(profile=profile, defined=originals.defined)
    found: Found = Counter()
    files = compared = before = after = 0
    for path in out_files:
        files += 1
        try:
            data_set = read_again(path)
            found.update(
                _foreign_findings(data_set) if any_tool else file_findings(data_set, profile)
            )
            if against is None:
                continue
            old = originals.compare(path, data_set, comparison, found)
        except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
            found[None, Finding.UNREADABLE] += 1
            continue
        if old is not None:
            compared += 1
            if program is not None:
                was, now = judge(old.path, program), judge(path, program)
                before, after = before + was.errors, after + now.errors
                found[None, Finding.LESS_CONFORMANT] += now.worse_than(was)
    found.update(comparison.of_the_set())
    return AuditReport(
        files=files,
        compared=compared,
        findings=_ordered(found),
        errors=None if program is None else (before, after),
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Originals:
    """What the originals hold: by their pixels, and the identifiers of all of them."""

    profile: Profile
    by_pixels: Mapping[bytes, list[Original]]
    by_instance: Mapping[bytes, Original] | None
    identifiers: Mapping[bytes, int]
    defined: frozenset[bytes]
    plain: frozenset[bytes]
    short: tuple[bytes, ...]
    needles: Needles

    @classmethod
    def read(cls, paths: Sequence[Path], profile: Profile, uids: UidMap | None) -> _Originals:
        read = [one for path in paths if (one := read_original(path, profile)) is not None]
        identifiers = {value: tag for one in read for value, tag in one.identifiers.items()}
        common = {value for one in read for value in one.kept_values}
        retained = {value for one in read for value in one.retained}
        public = b"\n".join((_public_text(profile), *sorted(retained)))
        # Words that public constants or kept elements hold too are looked for where neither
        # can stand; every other identifier, in every byte.
        plain = frozenset(value for value in identifiers if value in common or value in public)
        by_pixels: dict[bytes, list[Original]] = {}
        for one in read:
            by_pixels.setdefault(one.pixels, []).append(one)
        told = [value for value in identifiers if value not in plain]
        return cls(
            profile=profile,
            by_pixels=by_pixels,
            by_instance=None if uids is None else _by_instance(read, uids),
            identifiers=identifiers,
            defined=frozenset(uid for one in read for uid in one.defined),
            plain=plain,
            # Shorter ones occur in pixels by chance: looked for in front of them, as whole words.
            short=tuple(value for value in told if len(value) < WINDOW),
            needles=Needles(value for value in told if len(value) >= WINDOW),
        )

    def compare(
        self, path: Path, data_set: FileDataset, comparison: Comparison, found: Found
    ) -> Original | None:
        """Compare one output; its original, if that was found."""
        new = read_original(path, self.profile)
        if new is None:
            found[None, Finding.UNREADABLE] += 1
            return None
        for value in self._surviving(path, data_set, new):
            found[self.identifiers[value], Finding.IDENTIFIER_SURVIVES] += 1
        old = self._found(new, found, touched=bool(declared_pixel_codes(data_set)))
        comparison.add(old, new, found)
        return old

    def _surviving(self, path: Path, data_set: FileDataset, new: Original) -> Iterator[bytes]:
        content, header = _scanned(path, data_set)
        yield from self.needles.found_in(content)
        yield from (value for value in self.short if _is_word(value, header))
        replaced = b"\n".join(new.identifiers)
        for value in self.plain:
            if value in replaced and (len(value) >= WINDOW or _is_word(value, replaced)):
                yield value

    def _found(self, new: Original, found: Found, *, touched: bool) -> Original | None:
        """Find the original of an output; pixels may differ only where the output says so."""
        if self.by_instance is None:
            same = self.by_pixels.get(new.pixels, [])
            if not same and not touched:
                found[_PIXELS, Finding.PIXELS_CHANGED] += 1
            return _only(new, same)
        old = self.by_instance.get(new.uids.get(_INSTANCE, b""))
        if old is None:
            found[None, Finding.NO_ORIGINAL] += 1
        elif old.pixels != new.pixels and not touched:
            found[_PIXELS, Finding.PIXELS_CHANGED] += 1
        return old


def _foreign_findings(data_set: FileDataset) -> Iterator[tuple[int | None, Finding]]:
    """Say what is wrong with a file, whoever wrote it."""
    meta = data_set.file_meta.get("MediaStorageSOPInstanceUID")
    if meta != data_set.get("SOPInstanceUID"):
        yield _META_INSTANCE, Finding.META_MISMATCH


def _only(new: Original, same: list[Original]) -> Original | None:
    """Choose the original with these pixels; number, then geometry tell several apart."""
    if len(same) > 1:
        same = [one for one in same if one.number == new.number] or same
    if len(same) > 1:
        same = [one for one in same if one.geometry == new.geometry] or same
    return same[0] if len(same) == 1 else None


def _by_instance(originals: list[Original], uids: UidMap) -> dict[bytes, Original]:
    """Original by the instance UID that its output has."""
    return {uids(one.uids.get(_INSTANCE, b"")): one for one in originals}


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


def _is_word(value: bytes, header: bytes) -> bool:
    if value not in header:
        return False
    word = rb"(?<![0-9A-Za-z])" + re.escape(value) + rb"(?![0-9A-Za-z])"
    return re.search(word, header) is not None


def _ordered(found: Found) -> dict[tuple[str, Finding], int]:
    named = {
        ("" if tag is None else f"{tag:08X}", what): count
        for (tag, what), count in found.items()
        if count
    }
    return dict(sorted(named.items()))
