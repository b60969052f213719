"""What of a file identifies somebody: what the profile does not keep, as pydicom reads it.

Held in memory while an audit compares, never written. Values too short or too plain to mean anybody
are not looked for: they occur in every file by chance.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from reidscope_deid.actions import Action
from reidscope_deid.allowed import load_codes
from reidscope_deid.options import CODE_MEANINGS
from reidscope_deid.part10 import start_of_meta
from reidscope_deid.private import Blocks, is_creator, safe_creators
from reidscope_deid.samples import comparable_pixels
from reidscope_deid.uids import REGISTERED
from reidscope_deid.verification import raw_value
from reidscope_deid.words import foreign_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset, FileDataset

    from reidscope_deid.profile import Profile

    Place = tuple[int, ...]

_PIXELS = 0x7FE00010
_CODE_TAGS = frozenset({0x00080100, 0x00080102, 0x00080104})
_PIXEL_GROUP = 0x7FE0
_PUBLIC_META = frozenset({0x00020002, 0x00020010, 0x00020012, 0x00020013})
_META_INSTANCE = 0x00020003
_INSTANCE_NUMBER = 0x00200013
_PATIENT_ID, _STUDY = 0x00100020, 0x0020000D
_GEOMETRY = (0x00200032, 0x00200037, 0x00201041, 0x00280008, 0x00280010, 0x00280011, 0x00080060)
DEFINING = (0x00080018, 0x0020000D, 0x0020000E, 0x00200052)
"""Instance, study, series, frame of reference: what references refer to."""
_HEAD = 132  # bytes: preamble and prefix
_NO_PREAMBLE = bytes(128) + b"DICM"
_SHORTEST_WORD = 4  # bytes
_SHORTEST_NUMBER = 6  # digits
_SHORTEST_UID = 16  # bytes
_PADDING = b" \0"
_RUN = re.compile(rb"[ -~]{6,}")
_SPLIT_NAME = re.compile(rb"[\^=\\]")
_TEXT = frozenset({"PN", "LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "AS", "DA", "DT"})
_JUDGED = frozenset({Action.TEXT, Action.CLEAN, Action.AGE, Action.ZONE, Action.UID})
_NOT_NAMES = frozenset({"CS", "TM", "IS", "DS"})
_PLAIN = frozenset(
    b"NONE NULL UNKNOWN ANONYMOUS ANONYMIZED REMOVED TRUE FALSE DICM MODIFIED BASIC".split()
)
_KEPT = frozenset({Action.KEEP, Action.WALK, Action.CODES, Action.CONTENT, Action.SHIFT})
_AS_THEY_WERE = frozenset({Action.KEEP, Action.AGE, Action.ZONE})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Original:
    """One file, as far as an audit compares it.

    Attributes
    ----------
    identifiers : dict
        Values that must not survive, and the tag of each.
    kept_values : set
        Values that the profile keeps: finding them again says nothing.
    retained : set
        Texts and UIDs that an option keeps whole: nor does finding a part of them again.
    dates, times, uids : dict
        Values of DA and DT, of TM, and of UI that are not copied whatever the profile, by place
        (tags and item numbers from the top).
    pixels : bytes
        SHA-256 of the pixel data.
    number : bytes
        Instance number.
    geometry : tuple of bytes
        Where and when of the image: tells apart images with the same samples and number.
    person : bytes
        Patient ID, or study UID where there is none.
    pseudonym : bytes
        Patient ID, empty where there is none.
    path : Path
        Of the file.

    Privacy
    -------
    Holds identifiers: has no serialiser and no repr (docs/privacy.md, "De-identification").
    """

    identifiers: dict[bytes, int] = field(default_factory=dict)
    kept_values: set[bytes] = field(default_factory=set)
    retained: set[bytes] = field(default_factory=set)
    dates: dict[Place, bytes] = field(default_factory=dict)
    times: dict[Place, bytes] = field(default_factory=dict)
    uids: dict[Place, bytes] = field(default_factory=dict)
    pixels: bytes
    number: bytes
    geometry: tuple[bytes, ...]
    person: bytes
    pseudonym: bytes
    path: Path

    @property
    def defined(self) -> frozenset[bytes]:
        """UIDs that the file itself brings into the world: instance, series, study, frame."""
        return frozenset(uid for tag in DEFINING if (uid := self.uids.get((tag,))))


def read_original(path: Path, profile: Profile) -> Original | None:
    """Read one file for comparison; None if it is no DICOM that pydicom can read.

    Parameters
    ----------
    path : Path
        Only read.
    profile : Profile
        Says which elements are kept.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = path.read_bytes()
            start = start_of_meta(content[:_HEAD])
            if start is None:
                return None
            # With the preamble that pydicom asks for, where there was none.
            whole = content if start == _HEAD else _NO_PREAMBLE + content[start:]
            data_set = pydicom.dcmread(io.BytesIO(whole))
            return _gathered(path, data_set, profile)
    except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
        return None


def inflated_content(path: Path, data_set: FileDataset) -> bytes:
    """Bytes of a file, with its data set inflated behind them if it is deflated."""
    content = path.read_bytes()
    if data_set.file_meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return content
    start = 144 + int(data_set.file_meta.FileMetaInformationGroupLength)
    return content[:start] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:])


def pixels_start(data_set: FileDataset) -> int | None:
    """Where the pixel data starts in the file, None if it cannot be said."""
    if data_set.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return None
    if _PIXELS not in data_set:
        return None
    element = data_set.get_item(_PIXELS)
    return getattr(element, "value_tell", None) or getattr(element, "file_tell", None)


def _gathered(path: Path, data_set: FileDataset, profile: Profile) -> Original:
    pixels, syntax = raw_value(data_set, _PIXELS), str(data_set.file_meta.TransferSyntaxUID)
    identity = raw_value(data_set, _PATIENT_ID).strip(_PADDING)
    found = Original(
        pixels=hashlib.sha256(comparable_pixels(pixels, syntax)).digest(),
        number=raw_value(data_set, _INSTANCE_NUMBER).strip(_PADDING),
        geometry=tuple(raw_value(data_set, tag).strip(_PADDING) for tag in _GEOMETRY),
        person=identity or b"study " + raw_value(data_set, _STUDY).strip(_PADDING),
        pseudonym=identity,
        path=path,
    )
    for run in _RUN.findall(data_set.preamble or b""):
        _add(found, 0, run)
    for element in data_set.file_meta:
        if element.tag not in _PUBLIC_META and not (
            profile.retains_uids and element.tag == _META_INSTANCE
        ):
            value = element.value
            for run in _RUN.findall(value if isinstance(value, bytes) else str(value).encode()):
                _add(found, int(element.tag), run)
    implicit = data_set.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    _walk(data_set, found, profile, place=(), kept=True, implicit=implicit)
    return found


def _walk(
    data_set: Dataset,
    found: Original,
    profile: Profile,
    *,
    place: Place,
    kept: bool,
    implicit: bool,
    local_codes: bool = False,
) -> None:
    blocks = Blocks()
    for tag in data_set.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every value
        here = (*place, int(tag))
        if local_codes and int(tag) in _CODE_TAGS:
            continue
        if profile.retains_private and _is_safe_private(data_set, int(tag), blocks, found):
            continue
        rule = profile.rules.get(int(tag)) or (profile.content.get(int(tag)) if place else None)
        action = Action.DROP if rule is None else rule.action
        stays = kept and action in _KEPT
        if tag.group == _PIXEL_GROUP and stays:
            continue
        vr = _vr_of(data_set, int(tag), implicit=implicit)
        if vr == "SQ":
            for index, item in enumerate(data_set[tag].value):
                _walk(
                    item,
                    found,
                    profile,
                    place=(*here, index),
                    kept=stays,
                    implicit=implicit,
                    local_codes=stays and rule is not None and rule.local_codes,
                )
        else:
            gone = action is Action.SHIFT and not stays
            if gone or (action in _JUDGED and not kept):
                action = Action.DROP
            _sort_in(found, here, raw_value(data_set, int(tag)), vr, action, profile)


def _is_safe_private(data_set: Dataset, tag: int, blocks: Blocks, found: Original) -> bool:
    """Whether an element is a private one that may stay, or its creator."""
    if is_creator(tag):
        creator = raw_value(data_set, tag).strip(_PADDING)
        blocks.reserve(tag, creator)
        found.kept_values.update({creator} & safe_creators())
        return creator in safe_creators()
    return blocks.find(tag) is not None


def _vr_of(data_set: Dataset, tag: int, *, implicit: bool) -> str:
    vr = data_set.get_item(tag).VR
    if vr is None or implicit or vr == "UN":
        return dictionary_VR(tag) if dictionary_has_tag(tag) else data_set[tag].VR
    return vr


def _sort_in(  # noqa: PLR0917 - one call above
    found: Original, place: Place, raw: bytes, vr: str, action: Action, profile: Profile
) -> None:
    if action is Action.CLEAN:
        for word in foreign_words(raw):
            _add(found, place[-1], word)
    elif vr == "UI":
        if action is Action.UID or (action is Action.REMAP and profile.retains_uids):
            found.retained.add(raw)
            if action is Action.REMAP:
                found.uids[place] = raw.strip(_PADDING)
        else:
            _add_uids(found, place, raw, remapped=action is Action.REMAP)
    elif action is Action.SHIFT:
        (found.times if vr == "TM" else found.dates)[place] = raw.strip(_PADDING)
    elif action is Action.TEXT:
        found.retained.add(raw)
    elif action in _AS_THEY_WERE:
        found.kept_values.update(one.strip(_PADDING) for one in raw.split(b"\\"))
    else:
        for value in _values(raw, vr):
            _add(found, place[-1], value)


def _values(raw: bytes, vr: str) -> Iterator[bytes]:
    if vr in _TEXT:
        yield from _SPLIT_NAME.split(raw)
    elif vr not in _NOT_NAMES:
        yield from _RUN.findall(raw)


def _add(found: Original, tag: int, value: bytes) -> None:
    value = value.strip(_PADDING)
    shortest = _SHORTEST_NUMBER if re.fullmatch(rb"[0-9.+\-]+", value) else _SHORTEST_WORD
    if tag in _CODE_TAGS and value in _code_words():
        return
    if len(value) >= shortest and value.upper() not in _PLAIN and value not in REGISTERED:
        found.identifiers.setdefault(value, tag)


@cache
def _code_words() -> frozenset[bytes]:
    return frozenset(
        word for (scheme, code), meaning in load_codes().items() for word in (scheme, code, meaning)
    ) | {part.encode("ascii") for code in CODE_MEANINGS.items() for part in code}


def _add_uids(found: Original, place: Place, raw: bytes, *, remapped: bool) -> None:
    value = raw.strip(_PADDING)
    if remapped:
        found.uids[place] = b"" if value in REGISTERED else value
    for uid in value.split(b"\\"):
        if len(uid) >= _SHORTEST_UID and uid not in REGISTERED:
            found.identifiers.setdefault(uid, place[-1])
