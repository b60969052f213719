"""A second opinion on each output: pydicom reads it, and our data say what may stand in it.

The engine never decodes what it copies; this never uses the engine. A file that the two do not
agree on is not let through.
"""

from __future__ import annotations

import re
import warnings
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import pydicom

from reidscope_deid.actions import Action, dummy
from reidscope_deid.ages import is_age
from reidscope_deid.allowed import load_codes
from reidscope_deid.cleaning import is_clean
from reidscope_deid.dates import is_year_only, is_zone
from reidscope_deid.elements import MAX_DEPTH
from reidscope_deid.options import CODE_MEANINGS, PIXEL_CODES
from reidscope_deid.private import Blocks, is_creator
from reidscope_deid.sealed import SEALED, is_sealed
from reidscope_deid.uids import REGISTERED, is_uid
from reidscope_deid.words import is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset, FileDataset

    from reidscope_deid.actions import Rule
    from reidscope_deid.profile import Profile, Rules

    ByDepth = tuple[Rules, Rules]

DEFERRED = 1 << 16  # bytes; larger values are not read
_PREAMBLE = bytes(128)
_META = frozenset(
    {0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013}
)
_METHOD_CODES = 0x00120064
_NO_CODES = pydicom.DataElement(_METHOD_CODES, "SQ", [])
_PADDING = b" \0"
_PSEUDONYM = re.compile(rb"P-[A-Z2-7]{16}")
_UID = re.compile(rb"2\.25\.[0-9]{1,39}")
_MOMENT = re.compile(rb"[0-9:.+\-\\]*")
_DECLARED = frozenset({0x00120062, 0x00120063, 0x00280303})
DECLARED_TAGS = _DECLARED | {_METHOD_CODES, 0x00100010, 0x00100020}
"""What every output says of itself and of whose it is."""
_BULK_GROUP = 0x7FE0
_PALETTES = {0x00281200 + colour: 0x00281100 + colour for colour in (1, 2, 3)}
"""Lookup table data of a palette, and the descriptor of each."""
_CODE_ITEM = frozenset({0x00080100, 0x00080102, 0x00080104})


class Finding(StrEnum):
    """What is wrong with an output."""

    UNREADABLE = "unreadable"
    PREAMBLE = "preamble"
    META_ELEMENT = "meta-element"
    META_MISMATCH = "meta-mismatch"
    PRIVATE_ELEMENT = "private-element"
    UNLISTED_ELEMENT = "unlisted-element"
    VALUE_NOT_ALLOWED = "value-not-allowed"
    NOT_DECLARED = "not-declared"
    IDENTIFIER_SURVIVES = "identifier-survives"
    DATE_UNCHANGED = "date-unchanged"
    UID_UNCHANGED = "uid-unchanged"
    UID_INCONSISTENT = "uid-inconsistent"
    PIXELS_CHANGED = "pixels-changed"
    NO_ORIGINAL = "no-original"
    DANGLING_REFERENCE = "dangling-reference"
    INTERVAL_CHANGED = "interval-changed"
    TIME_CHANGED = "time-changed"
    PERSON_INCONSISTENT = "person-inconsistent"
    LESS_CONFORMANT = "less-conformant"


def read_again(path: Path) -> FileDataset:
    """One file as pydicom reads it, large values left on disk.

    Raises
    ------
    OSError, ValueError and others
        Whatever pydicom raises; callers turn it into a finding.
    """
    with warnings.catch_warnings():
        # A warning of pydicom's holds the value that it is about.
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, defer_size=DEFERRED)


def file_findings(
    data_set: FileDataset, profile: Profile, *, done: frozenset[str] | None = None
) -> Iterator[tuple[int | None, Finding]]:
    """Say what is wrong with one output, judged by itself.

    Parameters
    ----------
    data_set : FileDataset
        From `read_again`.
    profile : Profile
        What it was written under.
    done : frozenset of str, optional
        Codes of what was done with its samples; if not given, what the file says is believed as far
        as the profile allows it.

    Yields
    ------
    tuple of (int or None, Finding)
        Tag, where one element is to blame, and what is wrong. Never a value.
    """
    if data_set.preamble != _PREAMBLE:
        yield None, Finding.PREAMBLE
    meta = data_set.file_meta
    for element in meta:
        if int(element.tag) not in _META:
            yield int(element.tag), Finding.META_ELEMENT
    if meta.MediaStorageSOPInstanceUID != data_set.get("SOPInstanceUID"):
        yield 0x00020003, Finding.META_MISMATCH
    if meta.MediaStorageSOPClassUID != data_set.get("SOPClassUID"):
        yield 0x00020002, Finding.META_MISMATCH
    yield from _declaration_findings(data_set, profile, done)
    yield from _level_findings(data_set, profile, _rules_of(data_set, profile), depth=0)


def declared_pixel_codes(data_set: FileDataset) -> frozenset[str]:
    """Codes of samples (113101, 113102) that a file declares."""
    return PIXEL_CODES.intersection(_declared_codes(data_set))


def _declared_codes(data_set: FileDataset) -> list[str]:
    return [str(code.get("CodeValue")) for code in data_set.get(_METHOD_CODES, _NO_CODES).value]


def _declaration_findings(
    data_set: FileDataset, profile: Profile, done: frozenset[str] | None
) -> Iterator[tuple[int | None, Finding]]:
    if data_set.get("PatientIdentityRemoved") != "YES":
        yield 0x00120062, Finding.NOT_DECLARED
    if data_set.get("LongitudinalTemporalInformationModified") != profile.dates:
        yield 0x00280303, Finding.NOT_DECLARED
    if str(data_set.get("DeidentificationMethod")) != profile.method:
        yield 0x00120063, Finding.NOT_DECLARED
    declared = _declared_codes(data_set)
    if done is None:
        done = declared_pixel_codes(data_set) & profile.pixel_codes
    if declared != [code for code, _ in profile.codes_with(done)]:
        yield _METHOD_CODES, Finding.NOT_DECLARED


def rules_of(sop_class: str, profile: Profile) -> ByDepth:
    """Rules of a class: at the top level, and below."""
    uid = sop_class.encode("ascii", "replace")
    return profile.rules_of(uid, nested=False), profile.rules_of(uid, nested=True)


def _rules_of(data_set: Dataset, profile: Profile) -> ByDepth:
    return rules_of(str(data_set.get("SOPClassUID", "")), profile)


def _level_findings(
    data_set: Dataset, profile: Profile, rules: ByDepth, *, depth: int
) -> Iterator[tuple[int | None, Finding]]:
    if depth > MAX_DEPTH:
        yield None, Finding.UNREADABLE
        return
    yield from _private_findings(data_set, profile)
    for tag in data_set.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every value
        number = int(tag)  # a tag of pydicom's compares ten times as slowly
        if number >> 16 & 1 or (depth == 0 and number in _DECLARED):
            # Private ones are judged above, declared ones compared with the profile.
            continue
        rule = rules[depth > 0].get(number) or (profile.content.get(number) if depth else None)
        if depth == 0 and number == SEALED:
            if not is_sealed(data_set[tag].value):
                yield number, Finding.VALUE_NOT_ALLOWED
        elif depth == 0 and number == _METHOD_CODES:
            yield from _code_findings(data_set[tag].value)
        elif rule is not None:
            yield from rule_findings(data_set, rule, profile, rules, depth=depth)
        else:
            yield number, Finding.UNLISTED_ELEMENT


def _private_findings(data_set: Dataset, profile: Profile) -> Iterator[tuple[int | None, Finding]]:
    """Private elements of one level: none, or those that the standard knows to be safe."""
    blocks = Blocks()
    creators: set[int] = set()
    for tag in data_set.keys():  # noqa: SIM118 - as above
        number = int(tag)
        if not number >> 16 & 1:
            continue
        if not profile.retains_private:
            yield number, Finding.PRIVATE_ELEMENT
        elif is_creator(number):
            blocks.reserve(number, raw_value(data_set, number))
            creators.add(number)
        elif (found := blocks.find(number)) is None:
            yield number, Finding.PRIVATE_ELEMENT
        else:
            creators.discard(blocks.creator_tag(number))
            if not found[1].keeps(raw_value(data_set, number)):
                yield number, Finding.VALUE_NOT_ALLOWED
    for number in creators:  # one that nothing follows is a text by itself
        yield number, Finding.PRIVATE_ELEMENT


def rule_findings(
    data_set: Dataset, rule: Rule, profile: Profile, rules: ByDepth, *, depth: int
) -> Iterator[tuple[int | None, Finding]]:
    """Say what is wrong with one element, at any depth below it.

    Parameters
    ----------
    data_set : Dataset
        Holds the element.
    rule : Rule
        Of the element.
    profile : Profile
        What it was written under.
    rules : tuple of (mapping, mapping)
        Of the class: at the top level, and below.
    depth : int
        Levels above it.
    """
    if rule.action is Action.CODES:
        yield from _code_findings(data_set[rule.tag].value, local_codes=rule.local_codes)
    elif rule.action in (Action.WALK, Action.CONTENT):
        for item in data_set[rule.tag].value:
            yield from _level_findings(item, profile, rules, depth=depth + 1)
    elif rule.tag in _PALETTES:
        if len(raw_value(data_set, rule.tag)) > _palette_size(data_set, _PALETTES[rule.tag]):
            yield rule.tag, Finding.VALUE_NOT_ALLOWED
    # Samples have no form to judge, and asking for them would read them.
    elif rule.tag >> 16 != _BULK_GROUP and not may_stand(
        rule, raw_value(data_set, rule.tag), profile
    ):
        yield rule.tag, Finding.VALUE_NOT_ALLOWED


def _palette_size(data_set: Dataset, descriptor: int) -> int:
    """Bytes that a palette may have: two an entry, so that nothing stands behind its colours."""
    entries = int.from_bytes(raw_value(data_set, descriptor)[:2], _order(data_set))
    return 2 * (entries or 1 << 16)


def _order(data_set: Dataset) -> Literal["little", "big"]:
    return "little" if data_set.original_encoding[1] is not False else "big"


def _code_findings(
    items: Sequence[Dataset], *, local_codes: bool = False
) -> Iterator[tuple[int | None, Finding]]:
    for item in items:
        for tag in item.keys():  # noqa: SIM118 - as above
            if int(tag) not in _CODE_ITEM:
                yield int(tag), Finding.UNLISTED_ELEMENT
        scheme, value, meaning = (
            str(item.get(keyword, "")).encode("ascii", "replace")
            for keyword in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
        )
        public = load_codes().get((scheme, value))
        declared = CODE_MEANINGS.get(value.decode()) if scheme == b"DCM" else None
        if local_codes and public is None:
            continue
        if meaning not in (public, (declared or "").encode("ascii")):
            yield 0x00080104, Finding.VALUE_NOT_ALLOWED


def may_stand(rule: Rule, value: bytes, profile: Profile) -> bool:
    """Whether the engine could have written this value, as it stands, under this rule."""
    plain = value.strip(_PADDING)
    match rule.action:
        case Action.KEEP:
            kept = rule.kept
            # Samples and tables have no form to judge: their length was.
            return kept is not None and (
                kept.is_bulk or kept.keeps(value) or plain in (b"", kept.otherwise)
            )
        case Action.EMPTY:
            return not value
        case Action.DUMMY:
            return plain in (b"", dummy(rule.vr).strip(_PADDING))
        case Action.PSEUDONYM | Action.REMAP | Action.SHIFT:
            return not plain or _is_replaced(rule, plain, profile)
        case _:
            return plain in (b"", dummy(rule.vr)) or _is_judged(rule, plain)


def _is_replaced(rule: Rule, plain: bytes, profile: Profile) -> bool:
    if rule.action is Action.PSEUDONYM:
        return _PSEUDONYM.fullmatch(plain) is not None
    if rule.action is Action.REMAP:
        new = is_uid if profile.retains_uids else _UID.fullmatch
        return all(not uid or uid in REGISTERED or new(uid) for uid in plain.split(b"\\"))
    years = not profile.calendar.year_only or is_year_only(plain)
    return years and _MOMENT.fullmatch(plain) is not None


def _is_judged(rule: Rule, plain: bytes) -> bool:
    match rule.action:
        case Action.CLEAN:
            return is_clean(plain)
        case Action.TEXT:
            return is_plain(plain, rule.vr)
        case Action.AGE:
            return is_age(plain)
        case Action.ZONE:
            return is_zone(plain)
        case _:
            return is_uid(plain)


def raw_value(data_set: Dataset, tag: int) -> bytes:
    """Value of an element as it stands in the file, empty if it is absent."""
    if tag not in data_set:
        return b""
    element = data_set.get_item(tag)
    if isinstance(element.value, bytes):
        return element.value
    # pydicom has decoded the few that it needs itself: character sets, pixel representation, and
    # sequences of implicit encodings.
    if element.VR == "SQ":
        return b"items" if element.value else b""
    if element.VR == "US":
        return bytes(2 * element.VM)
    values = element.value if element.VM > 1 else [element.value]
    return "\\".join("" if one is None else str(one) for one in values).encode()
