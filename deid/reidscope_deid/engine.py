"""One data set in, one data set out: the rules of a profile applied to bytes.

    bytes -> elements (where they lie) -> rule by tag -> pieces of the output

Elements that are kept are copied as they are, never decoded; what no rule keeps is not copied. The
input is only read. Sequences that are kept are rebuilt item by item, under the same rules at every
depth. Files, file meta information and transfer syntaxes are `part10`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from reidscope_deid.actions import Action, Rule, dummy
from reidscope_deid.ages import age
from reidscope_deid.allowed import (
    load_codes,
    load_content_values,
    load_replaced_codes,
    load_value_types,
)
from reidscope_deid.cleaning import cleaned
from reidscope_deid.content import concept_names, item_may_stay, may_stay
from reidscope_deid.dates import is_zone
from reidscope_deid.elements import Element, read_elements, read_items
from reidscope_deid.encoding import LONG_VRS, SEQUENCE_DELIMITER, UNDEFINED, Encoding
from reidscope_deid.private import Blocks, is_creator
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.uids import is_uid
from reidscope_deid.words import retained

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from reidscope_deid.elements import Buffer
    from reidscope_deid.pixel_change import PixelChange, Samples
    from reidscope_deid.profile import Profile, Rules
    from reidscope_deid.pseudonyms import Person
    from reidscope_deid.uids import UidMap

    Piece = bytes | memoryview
    Written = tuple[int, list[Piece]]

_WAVEFORM_GROUP = 0x5400
"""Of samples that lie in sequences; no others are looked for there."""
_PIXELS = 0x7FE00010
_OFFSETS = (0x7FE00001, 0x7FE00002)
"""Extended offset table: of the frames as they were."""
_CODE_VALUE, _CODE_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_VALUE_TYPE, _CONCEPT, _MEASURED, _UNITS = 0x0040A040, 0x0040A043, 0x0040A300, 0x004008EA
_BY_REFERENCE, _ANNOTATION = 0x0040DB73, 0x00700006
_REPORT, _ANNOTATIONS = 0x0040A730, 0x0040B020
_BARE_IF_EMPTY = frozenset({_REPORT, _ANNOTATIONS})
"""Sequences of content items that are not written without one."""
_TRAILING_PADDING = 0xFFFCFFFC
_PADDING = b" \0"
_JUDGED = frozenset({Action.TEXT, Action.CLEAN, Action.AGE, Action.ZONE, Action.UID})
_SUBSTITUTES = frozenset({Action.EMPTY, Action.DUMMY})
_CODE_VRS = {_CODE_VALUE: b"SH", _CODE_SCHEME: b"SH", _CODE_MEANING: b"LO"}


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
        What is done.
    rules, nested : mapping
        Its rules for this class: at the top level, and in sequences.
    person : Person
        Whose file it is.
    known : frozenset of bytes
        Words of the file's own identifiers; empty where no text is kept.
    uids : UidMap
        New UIDs.
    tally : Counter
        Counts what was done: (tag, ``private`` or ``unknown``; action). Never a value.
    change : PixelChange or None
        What a stage that looked at the samples wants in their place.
    """

    data: Buffer
    encoding: Encoding
    profile: Profile
    rules: Rules
    nested: Rules
    person: Person
    known: frozenset[bytes]
    uids: UidMap
    tally: Counter[tuple[int | str, str]]
    change: PixelChange | None = None

    def data_set(self, elements: list[Element]) -> list[Written]:
        """Give tag and pieces of each output element, in order, what was done declared among them.

        Parameters
        ----------
        elements : list of Element
            The top level, from `read_elements`.

        Raises
        ------
        QuarantinedError
            Malformed below the top level, too deep, or an element twice.
        """
        declared = self.declared()
        for code in () if self.change is None else self.change.codes:
            self.tally["pixels", code] += 1
        written = [
            pair for pair in self._level(elements, self.rules, depth=0) if pair[0] not in declared
        ]
        written.extend(declared.items())
        written.sort(key=itemgetter(0))
        return written

    def declared(self) -> dict[int, list[Piece]]:
        """Pieces of what is written whatever the file holds, by tag."""
        declared: dict[int, list[Piece]] = {tag: [value] for tag, value in self._declaration()}
        if self.change is not None:
            declared |= self._changed(self.change)
        return declared

    def one(self, element: Element) -> list[Piece] | None:
        """Apply the rules to one element of the top level that is not private."""
        rule = self.rules.get(element.tag)
        if rule is None:
            self.tally[self._label(element.tag), "drop"] += 1
            return None
        return self._apply(rule, element, 0)

    def _level(self, elements: list[Element], rules: Rules, *, depth: int) -> list[Written]:
        tally = self.tally
        blocks = Blocks() if self.profile.retains_private else None
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
                if blocks is None or not self._safe_private(blocks, element, written):
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
        if action is Action.WALK or action is Action.CODES or action is Action.CONTENT:
            if element.vr not in (b"", b"SQ"):
                return None
            sequence: list[Piece] = [self._sequence(rule, element, depth)]
            bare = rule.tag in _BARE_IF_EMPTY and not self._is_filled(rule.tag, sequence)
            return None if bare else sequence
        if action in _JUDGED:
            return self._judged(rule, element)
        if element.undefined and rule.vr != b"SQ":
            return [self.encoding.element(rule.tag, rule.vr, b"")]
        return [self.encoding.element(rule.tag, rule.vr, self._replaced(rule, element))]

    def _keep(self, rule: Rule, element: Element, depth: int) -> list[Piece] | None:
        kept, vr = rule.kept, element.vr
        # From an archive that did not know the element: its bytes are little endian (PS3.5 6.2.2),
        # and are judged and written as what the element is.
        unknown = vr == b"UN" and len(rule.vrs) == 1 and self.encoding.little
        if unknown and kept is not None and not kept.is_bulk:
            vr = rule.vr
        if (
            kept is None
            or (vr and vr not in rule.vrs)
            or (depth and kept.is_bulk and element.tag >> 16 != _WAVEFORM_GROUP)
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
        if length & 1 or vr in LONG_VRS or unknown:
            return [self.encoding.element(rule.tag, vr or rule.vr, value)]
        return [self.data[element.start : element.end]]

    def _judged(self, rule: Rule, element: Element) -> list[Piece] | None:
        """Value that stays only if it can be judged; else what the Basic profile leaves."""
        sound = not element.undefined and (not element.vr or element.vr in rule.vrs)
        value = self.data[element.value : element.stop] if sound else b""
        action = rule.action
        if action is Action.CLEAN:
            new = self._cleaned(rule.tag, value)
        elif action is Action.TEXT:
            new = retained(value, rule.vr, self.known)
        elif action is Action.AGE:
            new = age(value, cap_at_90=self.profile.cap_at_90)
        elif action is Action.ZONE:
            new = value.strip(_PADDING) if is_zone(value) else b""
        else:
            plain = value.strip(_PADDING)
            new = plain if is_uid(plain) else b""
        if new:
            return [self.encoding.element(rule.tag, rule.vr, new)]
        self.tally[rule.tag, rule.otherwise.value] += 1
        if rule.otherwise not in _SUBSTITUTES:
            return None
        filled = rule.otherwise is Action.DUMMY and element.stop != element.value
        return [self.encoding.element(rule.tag, rule.vr, dummy(rule.vr) if filled else b"")]

    def _cleaned(self, tag: int, value: bytes) -> bytes:
        new, left_out = cleaned(value, self.known)
        for why, pieces in left_out.items():
            self.tally[tag, f"text-{why}"] += pieces
        return new

    def _safe_private(self, blocks: Blocks, element: Element, written: list[Written]) -> bool:
        """Copy a private element that the standard knows to be safe, behind its creator."""
        tag = element.tag
        if not tag >> 16 & 1:
            return False
        if is_creator(tag):
            blocks.reserve(tag, self.data[element.value : element.stop])
            return False
        found = blocks.find(tag)
        if found is None or element.undefined:
            return False
        creator, kept = found
        vr = min(kept.vrs).encode("ascii")
        # Archives that do not know private elements make them UN, in little endian (PS3.5 6.2.2).
        sound = (b"", vr, b"UN") if self.encoding.little else (b"", vr)
        value = self.data[element.value : element.stop]
        if element.vr not in sound or not kept.keeps(value):
            return False
        if vr == b"CS" and not retained(value, vr, self.known):
            return False
        place = blocks.creator_tag(tag)
        if all(other != place for other, _ in written):
            written.append((place, [self.encoding.element(place, b"LO", creator)]))
            written.sort(key=itemgetter(0))
        self.tally["private", Action.KEEP.value] += 1
        written.append((tag, [self.encoding.element(tag, vr, value)]))
        return True

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
        return self.profile.calendar.written(value, rule.vr, self.person.shift_days)

    def _sequence(self, rule: Rule, element: Element, depth: int) -> bytes:
        items = read_items(self.data, element, self.encoding, depth=depth + 1)
        rewrite: Callable[[Iterator[list[Element]], int], Iterator[bytes]] = self._walked_items
        if rule.action is Action.CODES:
            rewrite = partial(self._code_items, local_codes=rule.local_codes)
        elif rule.action is Action.CONTENT:
            judges = {_REPORT: self._report_items, _ANNOTATIONS: self._annotation_items}
            rewrite = judges.get(rule.tag, self._content_items)
        content = b"".join(self.encoding.item(item) for item in rewrite(items, depth + 1))
        if not content and not depth and rule.action is Action.CODES and rule.kept is not None:
            content = self._instead(rule.kept.otherwise)
        return self.encoding.element(rule.tag, b"SQ", content)

    def _instead(self, code: bytes) -> bytes:
        """Write the code that stands where one must stand."""
        if not code:
            return b""
        scheme, value = code.split()
        return self.encoding.item(self._code(scheme, value, load_codes()[scheme, value]))

    def _code(self, scheme: bytes, value: bytes, meaning: bytes) -> bytes:
        write = self.encoding.element
        return (
            write(_CODE_VALUE, b"SH", value)
            + write(_CODE_SCHEME, b"SH", scheme)
            + write(_CODE_MEANING, b"LO", meaning)
        )

    def _walked_items(self, items: Iterator[list[Element]], depth: int) -> Iterator[bytes]:
        for elements in items:
            yield _joined(self._level(elements, self.nested, depth=depth))

    def _content_items(self, items: Iterator[list[Element]], depth: int) -> Iterator[bytes]:
        """Content items that name their concept in public words and still have their value."""
        rules = self.nested
        for elements in items:
            concepts = [
                self._codes(one)[:2]
                for element in elements
                if element.tag in concept_names() and element.vr in (b"", b"SQ")
                for one in read_items(self.data, element, self.encoding, depth=depth + 1)
            ]
            written = self._level(elements, rules, depth=depth)
            named = len(concepts) == 1 and may_stay(concepts[0], self.profile.options)
            if named and any(self._has_value(tag, pieces, rules) for tag, pieces in written):
                yield _joined(written)
            else:
                self.tally["content", "drop"] += 1

    def _report_items(self, items: Iterator[list[Element]], depth: int) -> Iterator[bytes]:
        """Items of a report, each with what it may keep of what it holds."""
        for elements in items:
            raw = {
                one.tag: self.data[one.value : one.stop] for one in elements if not one.undefined
            }
            value_type = raw.get(_VALUE_TYPE, b"").strip(_PADDING)
            concepts = [self._codes(one)[:2] for one in self._inside(elements, _CONCEPT, depth)]
            units = [
                self._codes(unit)[:2]
                for measured in self._inside(elements, _MEASURED, depth)
                for unit in self._inside(measured, _UNITS, depth + 1)
            ]
            sound = (
                len(concepts) <= 1
                and _BY_REFERENCE not in raw  # it counts positions, which items that go move
                and all(unit in load_codes() for unit in units)
            )
            concept = concepts[0] if concepts else None
            if sound and item_may_stay(value_type, concept, self.profile.options):
                written = [
                    pair
                    for pair in self._level(elements, self.nested, depth=depth)
                    if self._is_filled(*pair)
                ]
                if any(tag == load_value_types()[value_type].value for tag, _ in written):
                    yield _joined(written)
                    continue
            self.tally["content", "drop"] += 1

    def _annotation_items(self, items: Iterator[list[Element]], depth: int) -> Iterator[bytes]:
        """Annotations of a waveform that name a public concept, or have text left."""
        for elements in items:
            concepts = [self._codes(one)[:2] for one in self._inside(elements, _CONCEPT, depth)]
            if all(may_stay(concept, self.profile.options) for concept in concepts):
                written = [
                    pair
                    for pair in self._level(elements, self.nested, depth=depth)
                    if self._is_filled(*pair)
                ]
                if {_CONCEPT, _ANNOTATION} & {tag for tag, _ in written}:
                    yield _joined(written)
                    continue
            self.tally["content", "drop"] += 1

    def _inside(self, elements: list[Element], tag: int, depth: int) -> Iterator[list[Element]]:
        for element in elements:
            if element.tag == tag and element.vr in (b"", b"SQ"):
                yield from read_items(self.data, element, self.encoding, depth=depth + 1)

    def _is_filled(self, tag: int, pieces: list[Piece]) -> bool:
        """Whether a sequence, if it is one, has an item."""
        rule = self.nested.get(tag)
        if rule is None or rule.vr != b"SQ":
            return True
        return sum(map(len, pieces)) > len(self.encoding.header(tag, b"SQ", 0))

    def _has_value(self, tag: int, pieces: list[Piece], rules: Rules) -> bool:
        if tag not in load_content_values():
            return False
        return sum(map(len, pieces)) > len(self.encoding.header(tag, rules[tag].vr, 0))

    def _codes(self, elements: list[Element]) -> tuple[bytes, bytes, bytes]:
        """Scheme, value and meaning of one item, as the file has them."""
        values = {
            one.tag: self.data[one.value : one.stop].strip(_PADDING)
            for one in elements
            if one.tag in _CODE_VRS
        }
        found = (values.get(tag, b"") for tag in (_CODE_SCHEME, _CODE_VALUE, _CODE_MEANING))
        scheme, value, meaning = found
        scheme, value = load_replaced_codes().get((scheme, value), (scheme, value))
        return scheme, value, meaning

    def _code_items(
        self, items: Iterator[list[Element]], _depth: int, *, local_codes: bool
    ) -> Iterator[bytes]:
        """Items whose code is public, in public words; other codes only where an option says."""
        for elements in items:
            scheme, value, own = self._codes(elements)
            meaning = load_codes().get((scheme, value))
            if meaning is None and local_codes:
                parts = zip((scheme, value, own), (b"SH", b"SH", b"LO"), strict=True)
                if all(retained(part, vr, self.known) for part, vr in parts):
                    meaning = own
            if meaning is None:
                self.tally[_CODE_VALUE, "drop"] += 1
                continue
            yield self._code(scheme, value, meaning)

    def _changed(self, change: PixelChange) -> dict[int, list[Piece]]:
        """Elements that a stage writes; an empty list of pieces removes one."""
        changed: dict[int, list[Piece]] = {
            tag: [] if new is None else [self.encoding.element(tag, *new)]
            for tag, new in change.elements.items()
        }
        samples = change.samples
        if samples is not None:
            changed |= {tag: [] for tag in _OFFSETS}
            changed[_PIXELS] = self._samples(samples)
        return changed

    def _samples(self, samples: Samples) -> list[Piece]:
        if samples.encapsulated:
            header = self.encoding.header(_PIXELS, b"OB", UNDEFINED)
            return [header, samples.value, self.encoding.delimiter(SEQUENCE_DELIMITER)]
        length = len(samples.value)
        padding = b"\0" * (length & 1)
        # OW suits every number of bits; implicit encodings write no VR at all (PS3.5 A.2).
        return [self.encoding.header(_PIXELS, b"OW", length + len(padding)), samples.value, padding]

    def _declaration(self) -> Iterator[tuple[int, bytes]]:
        """Who the person is now, and what was done (PS3.15 E.2): what was done alone."""
        write, name = self.encoding.element, self.person.pseudonym.encode("ascii")
        codes = b"".join(
            self.encoding.item(
                write(_CODE_VALUE, b"SH", code.encode("ascii"))
                + write(_CODE_SCHEME, b"SH", b"DCM")
                + write(_CODE_MEANING, b"LO", meaning.encode("ascii"))
            )
            for code, meaning in self.profile.codes_with(
                frozenset() if self.change is None else self.change.codes
            )
        )
        yield 0x00100010, write(0x00100010, b"PN", name)
        yield 0x00100020, write(0x00100020, b"LO", name)
        yield 0x00120062, write(0x00120062, b"CS", b"YES")
        yield 0x00120063, write(0x00120063, b"LO", self.profile.method.encode("ascii"))
        yield 0x00120064, write(0x00120064, b"SQ", codes)
        yield 0x00280303, write(0x00280303, b"CS", self.profile.dates.encode("ascii"))


def _joined(written: list[Written]) -> bytes:
    return b"".join(piece for _, pieces in written for piece in pieces)


def read_top(data: Buffer, start: int, encoding: Encoding) -> list[Element]:
    """Read the top level of a data set that runs from `start` to the end of `data`."""
    elements, _ = read_elements(data, start, len(data), encoding)
    return elements
