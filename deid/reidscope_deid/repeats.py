"""Files that repeat an earlier one: only the elements that differ are worked on again.

    file -> fits the layout of an earlier one? -> rules for what differs -> the earlier output, with
    what differs replaced

The output is the one that the whole way would have given, byte for byte: a test holds the two
against each other. What decides how a file is treated as a whole (whose it is, its class, its
character set, the form of its samples) may not differ; what differs is found out file by file.
Native samples only: compressed ones are walked each time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from reidscope_deid.elements import Element
from reidscope_deid.encoding import LONG_VRS
from reidscope_deid.layout import Layout, Span
from reidscope_deid.part10 import NewFile, Worked, meta_elements, new_meta
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.samples import expected_length
from reidscope_deid.words import is_read_for_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_deid.engine import Piece, Rewriter
    from reidscope_deid.part10 import Opened
    from reidscope_deid.profile import Profile

    Tally = Counter[tuple[int | str, str]]

_SYNTAXES = frozenset((ExplicitVRLittleEndian, ImplicitVRLittleEndian))
_INSTANCE, _PIXELS, _META_SYNTAX = 0x00080018, 0x7FE00010, 0x00020010
_META = 0x0002
_PIXEL_FORM, _LAST_OF_FORM = 0x0028, 0x0103
_DECISIVE = frozenset(
    (0x00080005, 0x00080008, 0x00080016, 0x0020000D, 0x0020000E, 0x00100010, 0x00100020, 0x00280301)
)
"""What a file is and whose: read where the whole file is judged."""
_ALWAYS = frozenset((0x00020000, 0x00020003, _INSTANCE))

_KEPT = 4
"""Earlier files that are tried: series are often written alternately."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Earlier:
    """A file that went the whole way, ready for those that repeat it.

    `pieces` are the output's bytes, with the number of a varying element where its own belong, up
    to the samples; `tally` counts what was done but for the varying ones.
    """

    layout: Layout
    spans: tuple[Span, ...]
    varying: tuple[Element, ...]
    data: bytes
    rewriter: Rewriter
    pieces: tuple[bytes | int, ...]
    padding: bytes
    tally: Tally
    samples: int
    new: NewFile
    syntax: bytes
    sop_class: bytes


class Repeats:
    """Earlier files, latest first."""

    __slots__ = ("_earlier",)

    def __init__(self) -> None:
        self._earlier: list[_Earlier] = []

    def find(self, data: bytes, tally: Tally) -> NewFile | None:
        """Make the new file of one that repeats an earlier one, None if none does.

        Parameters
        ----------
        data : bytes
            The file.
        tally : Counter
            Counts what is done.

        Raises
        ------
        QuarantinedError
            What differs is malformed.
        """
        for index, earlier in enumerate(self._earlier):
            fitted = earlier.layout.fit(data)
            if fitted is not None:
                if index:
                    self._earlier.insert(0, self._earlier.pop(index))
                return _again(earlier, data, *fitted, tally)
        return None

    def learn(self, opened: Opened, worked: Worked) -> None:
        """Keep a file that went the whole way.

        What differs from an earlier one that has the same elements is expected to differ again.
        """
        data = opened.data
        if opened.syntax not in _SYNTAXES or not isinstance(data, bytes) or not opened.elements:
            return
        pixels = opened.elements[-1]
        behind = data[pixels.value + expected_length(opened) :]
        if pixels.tag != _PIXELS or pixels.stop != len(data) or len(behind) > 1:
            return
        elements = [*meta_elements(data), *opened.elements[:-1]]
        spans = tuple(map(_span, elements))
        tags = _ALWAYS
        for index, earlier in enumerate(self._earlier):
            if [span.tag for span in earlier.spans] == [span.tag for span in spans]:
                tags |= {element.tag for element in earlier.varying} | {
                    new.tag
                    for old, new in zip(earlier.spans, spans, strict=True)
                    if earlier.data[old.value : old.stop] != data[new.value : new.stop]
                }
                del self._earlier[index]
                break
        profile = worked.rewriter.profile
        varying = [one for one in elements if one.tag in tags and _may_vary(one, worked, profile)]
        self._earlier.insert(0, _made(opened, data, spans, varying, worked))
        del self._earlier[_KEPT:]


def _span(element: Element) -> Span:
    # An explicit header of eight bytes ends in a length of two; any other, in one of four.
    short = element.vr and element.vr not in LONG_VRS
    return Span(element.tag, element.value - (2 if short else 4), element.value, element.stop)


def _may_vary(element: Element, worked: Worked, profile: Profile) -> bool:
    tag, group = element.tag, element.tag >> 16
    if tag in _ALWAYS:
        return True
    if element.undefined or tag in _DECISIVE or tag == _META_SYNTAX:
        return False
    if group == _PIXEL_FORM and tag & 0xFFFF <= _LAST_OF_FORM:
        return False
    if group & 1 and profile.retains_private:
        return False
    if profile.judges_words and group != _META and is_read_for_names(tag, element.vr, profile):
        return False
    return tag not in worked.declared


def _made(
    opened: Opened, data: bytes, spans: tuple[Span, ...], varying: Sequence[Element], worked: Worked
) -> _Earlier:
    numbers = {one.tag: number for number, one in enumerate(varying)}
    pixels = opened.elements[-1]
    scratch: Tally = Counter()
    rewriter = replace(worked.rewriter, tally=scratch)
    for one in varying:
        _written(rewriter, one)
    # Places of what varies, whether this file's value was written or not.
    parts: dict[int, bytes | int] = {
        tag: b"".join(pieces) for tag, pieces in worked.written if tag != _PIXELS
    }
    parts |= {tag: number for tag, number in numbers.items() if tag >> 16 != _META}
    *_, (_, last) = worked.written
    header, _, padding = last
    in_order = [parts[tag] for tag in sorted(parts)]
    return _Earlier(
        layout=Layout.of(data, [_span(one) for one in varying], pixels.value, "little"),
        spans=spans,
        varying=tuple(varying),
        data=data,
        rewriter=worked.rewriter,
        pieces=(*_joined(in_order), bytes(header)),
        padding=bytes(padding),
        tally=worked.rewriter.tally - scratch,
        samples=pixels.stop - pixels.value,
        new=worked.new,
        syntax=opened.syntax.encode("ascii"),
        sop_class=opened.value(0x00080016),
    )


def _joined(parts: list[bytes | int]) -> list[bytes | int]:
    joined: list[bytes | int] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _written(rewriter: Rewriter, element: Element) -> list[Piece]:
    """Say what the engine makes of one element of the top level."""
    if element.tag >> 16 == _META:
        return []
    pieces = rewriter.one(element)
    return [] if pieces is None else pieces


def _again(
    earlier: _Earlier, data: bytes, found: list[tuple[int, int]], samples: int, tally: Tally
) -> NewFile | None:
    if samples + earlier.samples != len(data):
        return None
    rewriter = replace(earlier.rewriter, data=data, tally=tally)
    slots: list[list[Piece]] = []
    instance = b""
    for old, (value, stop) in zip(earlier.varying, found, strict=True):
        start = value - (old.value - old.start)
        slots.append(_written(rewriter, Element(old.tag, old.vr, start, value, stop, stop, False)))
        if old.tag == _INSTANCE:
            instance = data[value:stop].strip(b" \0")
    if not instance:
        raise QuarantinedError(Reason.NO_INSTANCE)
    tally.update(earlier.tally)
    named = rewriter.uids(instance)
    if b"\\" in named:
        raise QuarantinedError(Reason.MALFORMED)
    pieces: list[Piece] = [new_meta(earlier.sop_class, named, earlier.syntax)]
    for part in earlier.pieces:
        if isinstance(part, int):
            pieces.extend(slots[part])
        else:
            pieces.append(part)
    pieces += (memoryview(data)[samples:], earlier.padding)
    return replace(earlier.new, pieces=pieces, instance=named.decode("ascii"))
