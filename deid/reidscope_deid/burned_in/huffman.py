"""Huffman tables of JPEG (ISO/IEC 10918-1 F.2.2), as arrays over every position of a bit stream.

A table is expanded to the 65,536 words that 16 bits can make. So what a code says can be looked up
for every bit position at once, and walking a scan is a few additions a coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = 16  # bits
_LARGEST_SIZE = 15  # bits of a coefficient; 16 exists in lossless processes alone
_COUNTS = 16  # bytes of a table that say how many codes have each length
END_OF_BLOCK = 0x00
_ZERO_RUN = 0xF0
BLOCK_ENDS = 192
"""What is added to a coefficient's index at the end of a block: no run of zeros reaches it."""
NO_CODE = 64
"""What is added where the bits are no code: the index then is over 64 and under `BLOCK_ENDS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HuffmanTable:
    """One table.

    Attributes
    ----------
    codes : dict
        Bits of the code of each symbol, as a string of 0 and 1.
    symbols : ndarray of uint8
        Shape (65536,): symbol that begins a word.
    lengths : ndarray of uint8
        Shape (65536,): bits of its code; 0 where the word begins with none.
    """

    codes: dict[int, str]
    symbols: NDArray[np.uint8]
    lengths: NDArray[np.uint8]


def huffman_table(content: bytes) -> HuffmanTable:
    """Table from sixteen counts and the symbols behind them.

    Raises
    ------
    QuarantinedError
        More codes than there are words, a symbol twice, or symbols missing.
    """
    counts, values = content[:_COUNTS], content[_COUNTS:]
    if len(counts) < _COUNTS or len(values) != sum(counts) or len(set(values)) != len(values):
        raise QuarantinedError(Reason.MALFORMED)
    symbols = np.zeros(1 << _WORD, np.uint8)
    lengths = np.zeros(1 << _WORD, np.uint8)
    codes: dict[int, str] = {}
    code = at = 0
    for length, count in enumerate(counts, start=1):
        for symbol in values[at : at + count]:
            first = code << (_WORD - length)
            last = (code + 1) << (_WORD - length)
            if last > 1 << _WORD:
                raise QuarantinedError(Reason.MALFORMED)
            symbols[first:last], lengths[first:last] = symbol, length
            codes[symbol] = f"{code:0{length}b}"
            code += 1
        at += count
        code <<= 1
    return HuffmanTable(codes=codes, symbols=symbols, lengths=lengths)


def standard_differences() -> HuffmanTable:
    """Table K.3 of ISO/IEC 10918-1: a code for every difference that 8-bit samples can have."""
    return huffman_table(STANDARD_DIFFERENCES)


STANDARD_DIFFERENCES = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, *range(12)])
"""Counts and symbols of that table."""


def words_of(stream: bytes) -> NDArray[np.uint16]:
    """Read the 16 bits from every bit position on.

    Parameters
    ----------
    stream : bytes
        At least three bytes.

    Returns
    -------
    ndarray of uint16
        Shape (8 * (bytes - 2),).
    """
    raw = np.frombuffer(stream, np.uint8).astype(np.uint32)
    three = raw[:-2] << 16 | raw[1:-1] << 8 | raw[2:]
    shifts = np.arange(8, 0, -1, dtype=np.uint32)
    return (three[:, None] >> shifts).astype(np.uint16).reshape(-1)


def differences_at(
    table: HuffmanTable, words: NDArray[np.uint16]
) -> tuple[bytes, NDArray[np.int16]]:
    """Say what a DC code means at every bit position.

    Returns
    -------
    steps : bytes
        Bits of the code and of the difference behind it; 0 where there is no code.
    differences : ndarray of int16
        The difference itself.
    """
    sizes = table.symbols[words]
    lengths = table.lengths[words]
    sound = (lengths > 0) & (sizes <= _LARGEST_SIZE)
    behind = np.minimum(np.arange(len(words)) + lengths, len(words) - 1)
    size = np.minimum(sizes, _LARGEST_SIZE).astype(np.int32)
    value = words[behind].astype(np.int32) >> (_WORD - size)
    positive = value >= (1 << size) >> 1
    difference = np.where(positive, value, value - (1 << size) + 1).astype(np.int16)
    difference[size == 0] = 0
    return np.where(sound, lengths + sizes, 0).astype(np.uint8).tobytes(), difference


def coefficients_at(table: HuffmanTable, words: NDArray[np.uint16]) -> tuple[bytes, bytes]:
    """Say what an AC code means at every bit position.

    Returns
    -------
    steps : bytes
        Bits of the code and of the coefficient behind it.
    runs : bytes
        What the index of the coefficient grows by.
    """
    symbols = table.symbols[words]
    lengths = table.lengths[words]
    sizes, zeros = symbols & 15, symbols >> 4
    runs = np.where(sizes > 0, zeros + 1, NO_CODE)
    runs[symbols == _ZERO_RUN] = 16
    runs[symbols == END_OF_BLOCK] = BLOCK_ENDS
    runs[lengths == 0] = NO_CODE
    return (lengths + sizes).astype(np.uint8).tobytes(), runs.astype(np.uint8).tobytes()


def coded_difference(table: HuffmanTable, difference: int) -> str:
    """Bits of a difference, as a string of 0 and 1.

    Raises
    ------
    KeyError
        The table has no code for a difference that large.
    """
    size = abs(difference).bit_length()
    code = table.codes[size]
    if not size:
        return code
    value = difference if difference > 0 else difference + (1 << size) - 1
    return f"{code}{value:0{size}b}"
