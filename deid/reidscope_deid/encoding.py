"""How PS3.5 lays elements out: explicit or implicit VR, little or big endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
_SHORT_LIMIT = 0xFFFF

LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""VRs whose explicit header is twelve bytes: two reserved, then a length of four."""

SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""VRs whose explicit header is eight bytes, with a length of two."""

_PAD_WITH_NUL = frozenset({b"UI", b"OB", b"OW", b"UN"})


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of the three ways of PS3.5 to write an element.

    Attributes
    ----------
    explicit : bool
        Whether the VR stands in the element.
    little : bool
        Whether the least significant byte comes first.
    head : struct.Struct
        Group, element, VR and short length: the first eight bytes of an explicit element.
    plain : struct.Struct
        Group, element and length: an implicit element, or an item.
    long : struct.Struct
        A length of four bytes.
    """

    explicit: bool
    little: bool
    head: struct.Struct = field(init=False, repr=False)
    plain: struct.Struct = field(init=False, repr=False)
    long: struct.Struct = field(init=False, repr=False)

    def __post_init__(self) -> None:
        order = "<" if self.little else ">"
        object.__setattr__(self, "head", struct.Struct(f"{order}HH2sH"))
        object.__setattr__(self, "plain", struct.Struct(f"{order}HHI"))
        object.__setattr__(self, "long", struct.Struct(f"{order}I"))

    def header(self, tag: int, vr: bytes, length: int) -> bytes:
        """Header of one element, up to its value.

        Parameters
        ----------
        tag : int
            Group in the upper, element in the lower 16 bits.
        vr : bytes
            Two letters; not written when implicit.
        length : int
            Bytes of the value, even, or UNDEFINED.
        """
        group, element = tag >> 16, tag & 0xFFFF
        if not self.explicit:
            return self.plain.pack(group, element, length)
        if vr in LONG_VRS:
            return self.head.pack(group, element, vr, 0) + self.long.pack(length)
        return self.head.pack(group, element, vr, length)

    def element(self, tag: int, vr: bytes, value: bytes) -> bytes:
        """One whole element; the value is padded to even length as its VR asks."""
        if len(value) & 1:
            value += b"\0" if vr in _PAD_WITH_NUL else b" "
        if len(value) > _SHORT_LIMIT and self.explicit and vr not in LONG_VRS:
            # PS3.5 6.2.2: a value too long for its VR's header is written as UN.
            vr = b"UN"
        return self.header(tag, vr, len(value)) + value

    def item(self, content: bytes) -> bytes:
        """One item of a sequence, of defined length."""
        return self.plain.pack(ITEM >> 16, ITEM & 0xFFFF, len(content)) + content

    def delimiter(self, tag: int) -> bytes:
        """Item or sequence delimiter, of length zero."""
        return self.plain.pack(tag >> 16, tag & 0xFFFF, 0)


EXPLICIT_LITTLE = Encoding(explicit=True, little=True)
IMPLICIT_LITTLE = Encoding(explicit=False, little=True)
EXPLICIT_BIG = Encoding(explicit=True, little=False)
