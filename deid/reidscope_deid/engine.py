"""One data set in, one data set out: the rules of a profile applied to bytes.

    bytes -> elements (where they lie) -> rule by tag -> pieces of the output

Elements that are kept are copied as they are, never decoded; what no rule keeps is not copied. The
input is only read. Sequences that are kept are rebuilt item by item, under the same rules at every
depth. Files, file meta information and transfer syntaxes are `part10`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from reidscope_deid.actions import Action, Rule, dummy
from reidscope_deid.allowed import load_codes
from reidscope_deid.dates import keep_tm, shift_da, shift_dt
from reidscope_deid.elements import Element, read_elements, read_items
from reidscope_deid.encoding import LONG_VRS, SEQUENCE_DELIMITER, UNDEFINED, Encoding
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from reidscope_deid.elements import Buffer
    from reidscope_deid.profile import Profile
    from reidscope_deid.pseudonyms import Person
    from reidscope_deid.uids import UidMap

    Piece = bytes | memoryview
    Written = tuple[int, list[Piece]]

_PIXEL_GROUP = 0x7FE0
_CODE_VALUE, _CODE_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_TRAILING_PADDING = 0xFFFCFFFC
_PADDING = b" \0"
_SHORT_LIMIT = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriter:
    """Applies a profile to the data set of one file of one person.

    Attributes
    ----------
    data : bytes or mmap
        The file, or its inflated data set.
    encoding : Encoding
        How the data set is written, in and out.
    profile : Profile
        The rules.
    person : Person
        Whose file it is.
    uids : UidMap
        New UIDs.
    tally : Counter
        Counts what was done: (tag, ``private`` or ``unknown``; action). Never a value.
    """

    data: Buffer
    encoding: Encoding
    profile: Profile
    person: Person
    uids: UidMap
    tally: Counter[tuple[int | str, str]]

    def data_set(self, elements: list[Element]) -> list[Piece]:
        """Pieces of the whole output data set, what was done declared in it.

        Parameters
        ----------
        elements : list of Element
            The top level, from `read_elements`.

        Raises
        ------
        QuarantinedError
            Malformed below the top level, too deep, or an element twice.
        """
        declared: dict[int, list[Piece]] = {tag: [value] for tag, value in self._declaration()}
        written = [pair for pair in self._level(elements, depth=0) if pair[0] not in declared]
        written.extend(declared.items())
        written.sort(key=itemgetter(0))
        return [piece for _, pieces in written for piece in pieces]

    def _level(self, elements: list[Element], *, depth: int) -> list[Written]:
        rules, tally = self.profile.rules, self.tally
        written: list[Written] = []
        last = -1
        for element in elements:
            tag = element.tag
            if tag <= last:
                # Not ascending: PS3.5 7.1 forbids it, and a second copy of an element is a place to
                # hide one.
                raise QuarantinedError(Reason.REPEATED_ELEMENT)
            last = tag
            rule = rules.get(tag)
            if rule is None:
                tally[self._label(tag), "drop"] += 1
                continue
            pieces = self._apply(rule, element, depth)
            if pieces is not None:
                written.append((tag, pieces))
        return written

    def _label(self, tag: int) -> int | str:
        if tag >> 16 & 1:
            return "private"
        return tag if tag in self.profile.listed or tag == _TRAILING_PADDING else "unknown"

    def _apply(self, rule: Rule, element: Element, depth: int) -> list[Piece] | None:
        action = rule.action
        if action is Action.KEEP:
            return self._keep(rule, element, depth)
        self.tally[rule.tag, action.value] += 1
        if action is Action.WALK or action is Action.CODES:
            if element.vr and element.vr != b"SQ":
                return None
            return [self._sequence(rule, element, depth)]
        if element.undefined and rule.vr != b"SQ":
            return [self.encoding.element(rule.tag, rule.vr, b"")]
        return [self.encoding.element(rule.tag, rule.vr, self._replaced(rule, element))]

    def _keep(self, rule: Rule, element: Element, depth: int) -> list[Piece] | None:
        kept, vr = rule.kept, element.vr
        if (
            kept is None
            or (vr and vr not in rule.vrs)
            or (element.tag >> 16 == _PIXEL_GROUP and depth)
        ):
            self.tally[rule.tag, "drop"] += 1
            return None
        length = element.stop - element.value
        if kept.is_bulk:
            return self._bulk(rule, element, length)
        value = self.data[element.value : element.stop]
        if element.undefined or not kept.keeps(value):
            self.tally[rule.tag, Action.EMPTY.value] += 1
            substitute = kept.otherwise if length else b""
            return [self.encoding.element(rule.tag, vr or rule.vr, substitute)]
        if length & 1 or vr in LONG_VRS:
            return [self.encoding.element(rule.tag, vr or rule.vr, value)]
        return [self.data[element.start : element.end]]

    def _bulk(self, rule: Rule, element: Element, length: int) -> list[Piece]:
        vr = element.vr or rule.vr
        value = memoryview(self.data)[element.value : element.stop]
        if element.undefined:
            header = self.encoding.header(rule.tag, vr, UNDEFINED)
            return [header, value, self.encoding.delimiter(SEQUENCE_DELIMITER)]
        padding = b"\0" * (length & 1)
        return [self.encoding.header(rule.tag, vr, length + len(padding)), value, padding]

    def _replaced(self, rule: Rule, element: Element) -> bytes:
        action = rule.action
        if action is Action.EMPTY or element.stop == element.value:
            return b""
        if action is Action.DUMMY:
            return dummy(rule.vr)
        if action is Action.PSEUDONYM:
            return self.person.pseudonym.encode("ascii")
        value = self.data[element.value : element.stop]
        if action is Action.REMAP:
            return self.uids(value)
        if rule.vr == b"TM":
            return keep_tm(value)
        shift = shift_da if rule.vr == b"DA" else shift_dt
        return shift(value, self.person.shift_days)

    def _sequence(self, rule: Rule, element: Element, depth: int) -> bytes:
        items = read_items(self.data, element, self.encoding, depth=depth + 1)
        rewrite = self._code_items if rule.action is Action.CODES else self._walked_items
        content = b"".join(self.encoding.item(item) for item in rewrite(items, depth + 1))
        return self.encoding.element(rule.tag, b"SQ", content)

    def _walked_items(self, items: Iterator[list[Element]], depth: int) -> Iterator[bytes]:
        for elements in items:
            written = self._level(elements, depth=depth)
            yield b"".join(piece for _, pieces in written for piece in pieces)

    def _code_items(self, items: Iterator[list[Element]], _depth: int) -> Iterator[bytes]:
        """Items whose code is public, in public words; other codes and words are not copied."""
        for elements in items:
            values = {
                one.tag: self.data[one.value : one.stop].strip(_PADDING)
                for one in elements
                if one.tag in (_CODE_VALUE, _CODE_SCHEME)
            }
            value, scheme = values.get(_CODE_VALUE, b""), values.get(_CODE_SCHEME, b"")
            meaning = load_codes().get((scheme, value))
            if meaning is None:
                self.tally[_CODE_VALUE, "drop"] += 1
                continue
            write = self.encoding.element
            yield (
                write(_CODE_VALUE, b"SH", value)
                + write(_CODE_SCHEME, b"SH", scheme)
                + write(_CODE_MEANING, b"LO", meaning)
            )

    def _declaration(self) -> Iterator[tuple[int, bytes]]:
        """Who the person is now, and what was done (PS3.15 E.2): what was done alone."""
        write, name = self.encoding.element, self.person.pseudonym.encode("ascii")
        codes = b"".join(
            self.encoding.item(
                write(_CODE_VALUE, b"SH", code.encode("ascii"))
                + write(_CODE_SCHEME, b"SH", b"DCM")
                + write(_CODE_MEANING, b"LO", meaning.encode("ascii"))
            )
            for code, meaning in self.profile.method_codes
        )
        yield 0x00100010, write(0x00100010, b"PN", name)
        yield 0x00100020, write(0x00100020, b"LO", name)
        yield 0x00120062, write(0x00120062, b"CS", b"YES")
        yield 0x00120063, write(0x00120063, b"LO", self.profile.method.encode("ascii"))
        yield 0x00120064, write(0x00120064, b"SQ", codes)
        yield 0x00280303, write(0x00280303, b"CS", self.profile.dates.encode("ascii"))


def read_top(data: Buffer, start: int, encoding: Encoding) -> list[Element]:
    """Read the top level of a data set that runs from `start` to the end of `data`."""
    elements, _ = read_elements(data, start, len(data), encoding)
    return elements
