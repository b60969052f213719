"""Where the elements of a data set lie in its bytes. Nothing is decoded and nothing is copied.

A data set is walked to its end: an element that reaches past it, a delimiter out of place or a VR
that PS3.5 does not know refuses the whole file, because what cannot be walked cannot be cleaned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reidscope_deid.encoding import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITER,
    LONG_VRS,
    SEQUENCE_DELIMITER,
    SHORT_VRS,
    UNDEFINED,
    Encoding,
)
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    Buffer = bytes | mmap.mmap

MAX_DEPTH = 16
"""Levels of nesting that are walked; the deepest image object of PS3.3 has fewer than ten."""

_HEADER = 8
_LONG_HEADER = 12
_DELIMITER_GROUP = 0xFFFE
_ENCAPSULATED = frozenset({b"OB", b"OW"})
_MAY_BE_UNDEFINED = frozenset({b"SQ", b"UN", b"OB", b"OW"})


class Element(NamedTuple):
    """One element's place in the bytes.

    Attributes
    ----------
    tag : int
        Group in the upper, element in the lower 16 bits.
    vr : bytes
        As written; empty when the encoding is implicit.
    start, value, stop, end : int
        Offsets of the header, of the value, behind the value (before a delimiter), and of what
        follows.
    undefined : bool
        Whether the length was undefined.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    stop: int
    end: int
    undefined: bool


def read_elements(
    data: Buffer,
    start: int,
    end: int,
    encoding: Encoding,
    *,
    delimited: bool = False,
    depth: int = 0,
) -> tuple[list[Element], int]:
    """Elements from `start` on, and where they end.

    Parameters
    ----------
    data : bytes or mmap
        What is walked.
    start, end : int
        Range of the data set, or of the item.
    encoding : Encoding
        How it is written.
    delimited : bool
        Whether an item delimiter ends it, rather than `end`.
    depth : int
        Levels above this one.

    Raises
    ------
    QuarantinedError
        Truncated, malformed or too deep.
    """
    if depth > MAX_DEPTH:
        raise QuarantinedError(Reason.TOO_DEEP)
    found: list[Element] = []
    at = start
    while at < end:
        if end - at < _HEADER:
            _zero_or_refuse(data, at, end, depth, Reason.TRUNCATED)
            break
        group, number, vr, length, value = _header(data, at, encoding)
        if group == _DELIMITER_GROUP:
            if delimited and number == ITEM_DELIMITER & 0xFFFF:
                return found, at + _HEADER
            raise QuarantinedError(Reason.MALFORMED)
        if value == at:
            _zero_or_refuse(data, at, end, depth, Reason.MALFORMED)
            break
        if length == UNDEFINED:
            stop, after = skip_undefined(data, value, end, encoding, vr=vr, depth=depth)
        else:
            stop = after = value + length
            if after > end:
                raise QuarantinedError(Reason.TRUNCATED)
        found.append(Element(group << 16 | number, vr, at, value, stop, after, length == UNDEFINED))
        at = after
    if delimited:
        raise QuarantinedError(Reason.TRUNCATED)
    return found, at


def _header(data: Buffer, at: int, encoding: Encoding) -> tuple[int, int, bytes, int, int]:
    """Group, element, VR, length and where the value starts: at `at` itself if there is no VR."""
    if not encoding.explicit:
        group, number, length = encoding.plain.unpack_from(data, at)
        return group, number, b"", length, at + _HEADER
    group, number, vr, length = encoding.head.unpack_from(data, at)
    if vr in SHORT_VRS:
        return group, number, vr, length, at + _HEADER
    if vr in LONG_VRS:
        if at + _LONG_HEADER > len(data):
            raise QuarantinedError(Reason.TRUNCATED)
        (length,) = encoding.long.unpack_from(data, at + _HEADER)
        if length == UNDEFINED and vr not in _MAY_BE_UNDEFINED:
            raise QuarantinedError(Reason.MALFORMED)
        return group, number, vr, length, at + _LONG_HEADER
    return group, number, vr, length, at


def _zero_or_refuse(data: Buffer, at: int, end: int, depth: int, reason: Reason) -> None:
    """Pass over zeros behind the last element of the top level; they are not copied."""
    if depth or any(data[at:end]):
        raise QuarantinedError(reason)


def read_items(
    data: Buffer, element: Element, encoding: Encoding, *, depth: int
) -> Iterator[list[Element]]:
    """Elements of each item of a sequence, in order.

    Raises
    ------
    QuarantinedError
        As `read_elements`.
    """
    at = element.value
    while at < element.stop:
        tag, length = _item_header(data, at, element.stop, encoding)
        if tag != ITEM:
            raise QuarantinedError(Reason.MALFORMED)
        at += _HEADER
        if length == UNDEFINED:
            elements, at = read_elements(
                data, at, element.stop, encoding, delimited=True, depth=depth
            )
        else:
            if at + length > element.stop:
                raise QuarantinedError(Reason.TRUNCATED)
            elements, _ = read_elements(data, at, at + length, encoding, depth=depth)
            at += length
        yield elements


def _item_header(data: Buffer, at: int, end: int, encoding: Encoding) -> tuple[int, int]:
    if end - at < _HEADER:
        raise QuarantinedError(Reason.TRUNCATED)
    group, element, length = encoding.plain.unpack_from(data, at)
    return group << 16 | element, length


def skip_undefined(
    data: Buffer, at: int, end: int, encoding: Encoding, *, vr: bytes, depth: int
) -> tuple[int, int]:
    """Where a value of undefined length stops, and where what follows its delimiter starts.

    Raises
    ------
    QuarantinedError
        As `read_elements`.
    """
    if vr == b"UN":
        encoding = IMPLICIT_LITTLE  # PS3.5 6.2.2, note 2
    while True:
        tag, length = _item_header(data, at, end, encoding)
        if tag == SEQUENCE_DELIMITER:
            return at, at + _HEADER
        if tag != ITEM:
            raise QuarantinedError(Reason.MALFORMED)
        at += _HEADER
        if length != UNDEFINED:
            at += length
        elif vr in _ENCAPSULATED:
            raise QuarantinedError(Reason.MALFORMED)
        else:
            _, at = read_elements(data, at, end, encoding, delimited=True, depth=depth + 1)
