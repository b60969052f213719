"""Files that mix explicit and implicit elements, written anew as Explicit VR Little Endian.

    bytes -> elements, each read as it is written -> explicit elements -> pydicom reads both alike

Some programs write a single element, or all of them, otherwise than the transfer syntax says. Every
byte is accounted for as in any other file; and unless pydicom reads the original and the rewritten
data set to the same values, the file is left out.
"""

from __future__ import annotations

import io
import warnings
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset

from reidscope_deid.elements import MAX_DEPTH, skip_undefined
from reidscope_deid.encoding import (
    EXPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITER,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED,
)
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from reidscope_deid.elements import Buffer

_HEADER, _LONG_HEADER = 8, 12
_DELIMITER_GROUP = 0xFFFE
_ENCAPSULATED = frozenset({b"OB", b"OW"})
_AMBIGUOUS = {"US or SS": b"US", "OB or OW": b"OW", "US or OW": b"OW", "US or SS or OW": b"OW"}


class _Head(NamedTuple):
    """Header of one element; `vr` as in the dictionary where the element does not say one."""

    tag: int
    vr: bytes
    length: int
    value: int


def as_explicit(data: Buffer, start: int, *, implicit: bool) -> bytes:
    """Write a data set of mixed elements as Explicit VR Little Endian.

    Parameters
    ----------
    data : bytes or mmap
        Holds the data set from `start` to its end; little endian.
    start : int
        Where it starts.
    implicit : bool
        Whether the transfer syntax says that its elements are.

    Raises
    ------
    QuarantinedError
        It cannot be walked to its end, or pydicom reads it otherwise.
    """
    written, _ = _level(data, start, len(data), delimited=False, depth=0)
    try:
        with warnings.catch_warnings():
            # A warning of pydicom's holds the value that it is about.
            warnings.simplefilter("ignore")
            original = read_dataset(io.BytesIO(data[start:]), implicit, True)
            again = read_dataset(io.BytesIO(written), False, True)
            alike = _are_alike(original, again)
    except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
        alike = False
    if not alike:
        raise QuarantinedError(Reason.MALFORMED)
    return written


def _level(data: Buffer, at: int, end: int, *, delimited: bool, depth: int) -> tuple[bytes, int]:
    if depth > MAX_DEPTH:
        raise QuarantinedError(Reason.TOO_DEEP)
    parts: list[bytes] = []
    while at < end:
        if depth == 0 and not any(data[at : at + _HEADER]) and not any(data[at:end]):
            break
        if end - at < _HEADER:
            raise QuarantinedError(Reason.TRUNCATED)
        head = _head(data, at, end)
        if head.tag >> 16 == _DELIMITER_GROUP:
            if delimited and head.tag == ITEM_DELIMITER:
                return b"".join(parts), at + _HEADER
            raise QuarantinedError(Reason.MALFORMED)
        part, at = _element(data, head, end, depth)
        parts.append(part)
    if delimited:
        raise QuarantinedError(Reason.TRUNCATED)
    return b"".join(parts), at


def _head(data: Buffer, at: int, end: int) -> _Head:
    group, number, vr, length = EXPLICIT_LITTLE.head.unpack_from(data, at)
    tag = group << 16 | number
    if vr in SHORT_VRS:
        return _Head(tag, vr, length, at + _HEADER)
    if vr in LONG_VRS and at + _LONG_HEADER <= end:
        (length,) = EXPLICIT_LITTLE.long.unpack_from(data, at + _HEADER)
        return _Head(tag, vr, length, at + _LONG_HEADER)
    (length,) = EXPLICIT_LITTLE.long.unpack_from(data, at + 4)
    listed = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    return _Head(tag, _AMBIGUOUS.get(listed, listed.encode("ascii")), length, at + _HEADER)


def _element(data: Buffer, head: _Head, end: int, depth: int) -> tuple[bytes, int]:
    write = EXPLICIT_LITTLE
    if head.vr == b"SQ":
        content, after = _items(data, head, end, depth)
        return write.element(head.tag, b"SQ", content), after
    if head.length == UNDEFINED:
        vr = b"OB" if head.vr in _ENCAPSULATED else head.vr
        if vr not in (b"OB", b"UN"):
            raise QuarantinedError(Reason.MALFORMED)
        _, after = skip_undefined(data, head.value, end, write, vr=vr, depth=depth)
        return write.header(head.tag, vr, UNDEFINED) + data[head.value : after], after
    after = head.value + head.length
    if after > end:
        raise QuarantinedError(Reason.TRUNCATED)
    return write.element(head.tag, head.vr, data[head.value : after]), after


def _items(data: Buffer, head: _Head, end: int, depth: int) -> tuple[bytes, int]:
    undefined = head.length == UNDEFINED
    stop = end if undefined else head.value + head.length
    if stop > end:
        raise QuarantinedError(Reason.TRUNCATED)
    at, parts = head.value, list[bytes]()
    while at < stop:
        if stop - at < _HEADER:
            raise QuarantinedError(Reason.TRUNCATED)
        group, number, length = EXPLICIT_LITTLE.plain.unpack_from(data, at)
        at += _HEADER
        if group << 16 | number != ITEM:
            if undefined and group == _DELIMITER_GROUP and length == 0:
                return b"".join(parts), at
            raise QuarantinedError(Reason.MALFORMED)
        if length == UNDEFINED:
            content, at = _level(data, at, stop, delimited=True, depth=depth + 1)
        elif at + length > stop:
            raise QuarantinedError(Reason.TRUNCATED)
        else:
            content, at = _level(data, at, at + length, delimited=False, depth=depth + 1)
        parts.append(EXPLICIT_LITTLE.item(content))
    if undefined:
        raise QuarantinedError(Reason.TRUNCATED)
    return b"".join(parts), at


def _are_alike(one: Dataset, other: Dataset) -> bool:
    if list(one.keys()) != list(other.keys()):
        return False
    for tag in one.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every value
        old, new = one.get_item(tag), other.get_item(tag)
        if "SQ" in (old.VR, new.VR):
            pairs = zip_longest(one[tag].value, other[tag].value)
            if not all(None not in pair and _are_alike(*pair) for pair in pairs):
                return False
        elif isinstance(old, RawDataElement) and isinstance(new, RawDataElement):
            if (old.value or b"").rstrip(b" \0") != (new.value or b"").rstrip(b" \0"):
                return False
        elif one[tag].value != other[tag].value:
            return False
    return True
