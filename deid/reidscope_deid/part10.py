"""DICOM files (PS3.10): file meta information, transfer syntax, and which files are taken.

    bytes -> opened (where the data set lies, how it is written) -> rewritten -> a new file

The preamble of the output is zero and its file meta information is written anew: no application
entity title, no private information, nothing of the source but the SOP class and the transfer
syntax.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from reidscope_deid.allowed import load_allow_list
from reidscope_deid.elements import read_elements
from reidscope_deid.encoding import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding
from reidscope_deid.engine import Rewriter, read_top
from reidscope_deid.mixed import as_explicit
from reidscope_deid.objects import JUDGED_WITH_THE_FILE, check_objects
from reidscope_deid.options import OPTIONS, PIXEL_DATA
from reidscope_deid.pixel_change import PixelChange
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.samples import TAKEN_SYNTAXES, clean_pixels
from reidscope_deid.sealed import SEALED
from reidscope_deid.words import known_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reidscope_deid.elements import Buffer, Element
    from reidscope_deid.engine import Piece, Written
    from reidscope_deid.known import KnownWords
    from reidscope_deid.pixel_change import PixelStage
    from reidscope_deid.profile import Profile
    from reidscope_deid.pseudonyms import Namer, Person
    from reidscope_deid.sealing import Seal
    from reidscope_deid.uids import UidMap

IMPLEMENTATION_UID = b"2.25.66345246922149259389205894874823125745"
"""Names this program in file meta information; drawn once."""

_PREAMBLE = 128
_PREFIX = b"DICM"
_META_START = _PREAMBLE + len(_PREFIX)
_META_GROUP = 0x0002
_BARE_META = re.compile(rb"\x02\x00[\x00\x01\x02]\x00(UL|OB|UI)")
_SYNTAX = 0x00020010
_PIXELS = 0x7FE00010
_DIRECTORY = 0x00041220
_META_LIMIT = 1 << 20  # bytes
_INFLATED_LIMIT = 1 << 30  # bytes
_PADDING = b" \0"
_MIXED = frozenset({Reason.MALFORMED, Reason.TRUNCATED})
"""What walking finds in a file whose elements are not all written as its syntax says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file whose data set can be walked.

    Attributes
    ----------
    data : bytes or mmap
        The file, or its inflated data set.
    encoding : Encoding
        How the data set is written.
    syntax : str
        UID of the transfer syntax.
    elements : list of Element
        The top level.
    """

    data: Buffer
    encoding: Encoding
    syntax: str
    elements: list[Element]

    def value(self, tag: int) -> bytes:
        """Value of a top-level element without its padding, empty if it is absent."""
        return self.raw(tag).strip(_PADDING)

    def raw(self, tag: int) -> bytes:
        """Value of a top-level element as it stands, empty if it is absent."""
        for element in self.elements:
            if element.tag == tag:
                return self.data[element.value : element.stop]
        return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A de-identified file that is not written yet.

    Attributes
    ----------
    pieces : list of bytes or memoryview
        Its content, in order.
    person : Person
        Whose it is.
    study, series, instance : str
        Its new UIDs: the only names that it is ever given.
    change : PixelChange or None
        What was done with its samples.
    """

    pieces: list[Piece]
    person: Person
    study: str
    series: str
    instance: str
    change: PixelChange | None = None


def open_part10(data: Buffer) -> Opened:
    """Find the data set in a file.

    Raises
    ------
    QuarantinedError
        Not DICOM, an unknown transfer syntax, or a data set that cannot be walked.
    """
    meta = start_of_meta(data[:_META_START])
    if meta is None:
        raise QuarantinedError(Reason.NOT_DICOM)
    syntax, start = _meta(data, meta)
    if syntax not in TAKEN_SYNTAXES:
        raise QuarantinedError(Reason.TRANSFER_SYNTAX)
    encoding = EXPLICIT_LITTLE
    if syntax == ImplicitVRLittleEndian:
        encoding = IMPLICIT_LITTLE
    elif syntax == ExplicitVRBigEndian:
        encoding = EXPLICIT_BIG
    elif syntax == DeflatedExplicitVRLittleEndian:
        data, start = _inflated(data[start:]), 0
    try:
        elements = read_top(data, start, encoding)
    except QuarantinedError as refused:
        if refused.reason not in _MIXED or encoding is EXPLICIT_BIG:
            raise
        data = as_explicit(data, start, implicit=encoding is IMPLICIT_LITTLE)
        if encoding is IMPLICIT_LITTLE:
            encoding, syntax = EXPLICIT_LITTLE, str(ExplicitVRLittleEndian)
        elements = read_top(data, 0, encoding)
    return Opened(data=data, encoding=encoding, syntax=syntax, elements=elements)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Worked:
    """A file that went the whole way.

    Attributes
    ----------
    new : NewFile
        What came out.
    rewriter : Rewriter
        What did it.
    written : list of (int, list of pieces)
        Output elements, tag and bytes, in order.
    declared : frozenset of int
        Tags that are written whatever the file holds, and those by which a file is judged whole:
        one that differs in them repeats no other.
    """

    new: NewFile
    rewriter: Rewriter
    written: list[Written]
    declared: frozenset[int]

    def follows(self, opened: Opened) -> bool:
        """Whether it was made of this file's own bytes, and ends in its samples as they were."""
        last, pieces = self.written[-1]
        return self.rewriter.data is opened.data and last == _PIXELS and len(pieces) > 1


def deidentify_opened(
    opened: Opened,
    *,
    profile: Profile,
    namer: Namer,
    uids: UidMap,
    tally: Counter[tuple[int | str, str]],
    stages: Sequence[PixelStage] = (),
    seal: Seal | None = None,
    known: KnownWords | None = None,
) -> Worked:
    """Make the new file for an opened one.

    Parameters
    ----------
    opened : Opened
        From `open_part10`.
    profile : Profile
        The rules.
    namer : Namer
        Names the person.
    uids : UidMap
        New UIDs.
    tally : Counter
        Counts what is done.
    stages : sequence of PixelStage
        Look at the samples, in order; at most one of them changes them.
    seal : Seal, optional
        Encrypts into the output what is taken out.
    known : KnownWords, optional
        Words of the person's other files.

    Raises
    ------
    QuarantinedError
        Not a class that is taken, likely burned-in text, nobody's file, or malformed.
    """
    before = Counter(tally)
    work = partial(
        _worked,
        profile=profile,
        namer=namer,
        uids=uids,
        tally=tally,
        stages=stages,
        seal=seal,
        known=known,
    )
    try:
        return work(opened)
    except QuarantinedError as refused:
        again = explicit_again(opened, refused)
    tally.clear()
    tally.update(before)
    return work(again)


def explicit_again(opened: Opened, refused: QuarantinedError) -> Opened:
    """Give a file whose sequences mix explicit and implicit elements as an explicit one.

    Raises
    ------
    QuarantinedError
        What it was refused with, if another encoding does not explain it.
    """
    native = opened.syntax == ImplicitVRLittleEndian
    if refused.reason not in _MIXED or opened.encoding is EXPLICIT_BIG or not opened.elements:
        raise refused
    written = as_explicit(opened.data, opened.elements[0].start, implicit=native)
    if written == opened.data[opened.elements[0].start : opened.elements[-1].end]:
        raise refused
    return replace(
        opened,
        data=written,
        encoding=EXPLICIT_LITTLE,
        syntax=str(ExplicitVRLittleEndian) if native else opened.syntax,
        elements=read_top(written, 0, EXPLICIT_LITTLE),
    )


def _worked(
    opened: Opened,
    *,
    profile: Profile,
    namer: Namer,
    uids: UidMap,
    tally: Counter[tuple[int | str, str]],
    stages: Sequence[PixelStage],
    seal: Seal | None,
    known: KnownWords | None,
) -> Worked:
    sop_class, instance = opened.value(0x00080016), opened.value(0x00080018)
    if any(element.tag == _DIRECTORY for element in opened.elements):
        raise QuarantinedError(Reason.DIRECTORY)
    if not sop_class or not instance:
        raise QuarantinedError(Reason.NO_INSTANCE)
    likely = profile.sop_classes.get(sop_class)
    if likely is None:
        reason = load_allow_list().left_out.get(sop_class, Reason.SOP_CLASS)
        raise QuarantinedError(reason)
    opened = clean_pixels(opened)
    check_objects(opened)
    change = _change(opened, stages)
    if change is None or OPTIONS[PIXEL_DATA].code not in change.codes:
        _refuse_text(opened, likely=likely)
    syntax = opened.syntax if change is None or not change.samples else change.samples.syntax
    person = person_of(opened, namer)
    words: frozenset[bytes] = frozenset()
    if profile.judges_words:
        words = known_words(opened.data, opened.elements, opened.encoding, profile)
        if known is not None:
            words |= known.of(opened, person)
    rewriter = Rewriter(
        data=opened.data,
        encoding=opened.encoding,
        profile=profile,
        rules=profile.rules_of(sop_class, nested=False),
        nested=profile.rules_of(sop_class, nested=True),
        person=person,
        known=words,
        uids=uids,
        tally=tally,
        change=change,
    )
    written = rewriter.data_set(opened.elements)
    if seal is not None:
        kept = {tag: b"".join(pieces) for tag, pieces in written if tag != _PIXELS}
        changed = [
            one for one in opened.elements if kept.get(one.tag) != opened.data[one.start : one.end]
        ]
        written.append((SEALED, [seal.element(opened, changed, opened.encoding)]))
        written.sort(key=itemgetter(0))
    body = [piece for _, pieces in written for piece in pieces]
    if syntax == DeflatedExplicitVRLittleEndian:
        body = [_deflated(body)]
    new_instance = uids(instance)
    study, series = uids(opened.value(0x0020000D)), uids(opened.value(0x0020000E))
    if any(b"\\" in uid for uid in (new_instance, study, series)):
        # Several where one belongs: they would be one name of a file, and of any length.
        raise QuarantinedError(Reason.MALFORMED)
    new = NewFile(
        pieces=[new_meta(sop_class, new_instance, syntax.encode("ascii")), *body],
        person=person,
        change=change,
        study=study.decode("ascii"),
        series=series.decode("ascii"),
        instance=new_instance.decode("ascii"),
    )
    return Worked(
        new=new,
        rewriter=rewriter,
        written=written,
        declared=frozenset(rewriter.declared()) | JUDGED_WITH_THE_FILE,
    )


def person_of(opened: Opened, namer: Namer) -> Person:
    """Say whose file it is: by patient ID, else by study.

    Raises
    ------
    QuarantinedError
        It holds neither.
    """
    raw = opened.value(0x00100020)
    if not raw:
        return namer.study(opened.value(0x0020000D).decode("ascii", "replace"))
    if raw.isascii():
        return namer.patient(raw.decode("ascii"))
    character_sets = opened.value(0x00080005).decode("ascii", "replace").split("\\")
    return namer.patient(decode_bytes(raw, convert_encodings(character_sets), set()))


def _change(opened: Opened, stages: Sequence[PixelStage]) -> PixelChange | None:
    """Say what the stages want together: codes and elements of all, samples of one."""
    changes = [change for stage in stages if (change := stage(opened)) is not None]
    if len(changes) <= 1:
        return changes[0] if changes else None
    samples = [change.samples for change in changes if change.samples is not None]
    if len(samples) > 1:
        # The second stage has looked at samples that the first replaces.
        raise QuarantinedError(Reason.SAMPLES_TWICE)
    return PixelChange(
        codes=frozenset().union(*(change.codes for change in changes)),
        samples=samples[0] if samples else None,
        elements={tag: new for change in changes for tag, new in change.elements.items()},
        boxes=sum(change.boxes for change in changes),
        review=any(change.review for change in changes),
    )


def _refuse_text(opened: Opened, *, likely: bool) -> None:
    """Leave out what nobody has looked at for burned-in text and may hold some."""
    declared = opened.value(0x00280301)
    screen = b"SCREEN SAVE" in opened.value(0x00080008)
    if declared == b"YES" or (declared != b"NO" and (likely or screen)):
        raise QuarantinedError(Reason.BURNED_IN)


def start_of_meta(head: bytes) -> int | None:
    """Where file meta information starts, None in what is no DICOM.

    Behind a preamble, or, in files that some programs wrote without one, at the start or behind
    the prefix. A data set without file meta information is not guessed at: it is no DICOM file.

    Parameters
    ----------
    head : bytes
        The first 132 bytes.
    """
    if head[_PREAMBLE:_META_START] == _PREFIX:
        return _META_START
    for start in (0, len(_PREFIX)):
        if head[:start] == _PREFIX[:start] and _BARE_META.match(head, start):
            return start
    return None


def _meta(data: Buffer, at: int) -> tuple[str, int]:
    """Transfer syntax, and where the data set starts."""
    syntax = ""
    for element in _meta_walk(data, at):
        at = element.end
        if element.tag == _SYNTAX:
            value = data[element.value : element.stop].strip(_PADDING)
            syntax = value.decode("ascii", "replace")
    return syntax, at


def meta_elements(data: Buffer) -> list[Element]:
    """Elements of the file meta information of a file that was opened."""
    start = start_of_meta(data[:_META_START])
    return [] if start is None else list(_meta_walk(data, start))


def _meta_walk(data: Buffer, at: int) -> Iterator[Element]:
    end = min(len(data), _META_LIMIT)
    unpack = EXPLICIT_LITTLE.plain.unpack_from
    while at + 8 <= end and unpack(data, at)[0] == _META_GROUP:
        # One element at a time: group 0002 ends where another group begins, whatever its length
        # says.
        element, at = _one_element(data, at, end)
        yield element


def _one_element(data: Buffer, at: int, end: int) -> tuple[Element, int]:
    vr = data[at + 4 : at + 6]
    long = vr in (b"OB", b"UN", b"OW", b"UT")
    header = 12 if long else 8
    if at + header > end:
        raise QuarantinedError(Reason.TRUNCATED)
    if long:
        (length,) = EXPLICIT_LITTLE.long.unpack_from(data, at + 8)
    else:
        length = EXPLICIT_LITTLE.head.unpack_from(data, at)[3]
    if at + header + length > end:
        raise QuarantinedError(Reason.TRUNCATED)
    elements, after = read_elements(data, at, at + header + length, EXPLICIT_LITTLE)
    return elements[0], after


def new_meta(sop_class: bytes, instance: bytes, syntax: bytes) -> bytes:
    """Preamble, prefix and file meta information of an output."""
    write = EXPLICIT_LITTLE.element
    group = b"".join(
        (
            write(0x00020001, b"OB", b"\0\1"),
            write(0x00020002, b"UI", sop_class),
            write(0x00020003, b"UI", instance),
            write(0x00020010, b"UI", syntax),
            write(0x00020012, b"UI", IMPLEMENTATION_UID),
            write(0x00020013, b"SH", b"REIDSCOPE_DEID_1"),
        )
    )
    length = write(0x00020000, b"UL", len(group).to_bytes(4, "little"))
    return bytes(_PREAMBLE) + _PREFIX + length + group


def _inflated(content: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(content, _INFLATED_LIMIT)
    except zlib.error:
        raise QuarantinedError(Reason.MALFORMED) from None
    if inflater.unconsumed_tail:
        raise QuarantinedError(Reason.TOO_LARGE)
    if not inflater.eof:
        raise QuarantinedError(Reason.TRUNCATED)
    return data


def _deflated(pieces: list[Piece]) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    content = b"".join([deflater.compress(piece) for piece in pieces]) + deflater.flush()
    return content + b"\0" * (len(content) & 1)
