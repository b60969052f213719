"""A CSV file as integer codes: every column is encoded once, and nothing else of it is held.

Whatever the parser does not take for sure is refused: ragged rows, two columns of one name, bytes
that are no UTF-8, NUL, endless fields. A refusal names a line's number, never what stands in it.
"""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray

    Codes = NDArray[np.int32]

LONGEST_LINE = 1 << 20  # characters
LONGEST_FIELD = 1 << 16  # characters
MOST_COLUMNS = 4096
_CHUNK = 1 << 14  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column, encoded.

    Attributes
    ----------
    name : str
        As in the header.
    values : tuple of str
        Distinct cells in the order in which they first occur, of every table read together.
    codes : ndarray of int32, shape (rows,)
        Index into `values`.

    Privacy
    -------
    Exact cells of people: stays in the process that read it (docs/privacy.md, "De-identification").
    """

    name: str
    values: tuple[str, ...]
    codes: Codes


class _Register(dict[str, int]):
    """Gives a cell that it has not seen the next code."""

    def __missing__(self, cell: str) -> int:
        code = self[cell] = len(self)
        return code


def read_columns(
    path: Path, names: Sequence[str], *, delimiter: str = ",", beside: Path | None = None
) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """Encode the named columns of a table, and of a second one with the same codes.

    Parameters
    ----------
    path : Path
        UTF-8 (with or without BOM), one header line, fields quoted by ``"`` where needed.
    names : sequence of str
        Columns to encode, in the order wanted; every table must have all of them.
    delimiter : str
        One character.
    beside : Path, optional
        A population table.

    Returns
    -------
    tuple of tuple of Column
        The table's columns and the population's (empty without one). `values` are the same.

    Raises
    ------
    InputError
        A file that is no such table, or that has no row.
    """
    registers = [_Register() for _ in names]
    coded = [
        [] if one is None else _encode(one, names, registers, delimiter=delimiter)
        for one in (path, beside)
    ]
    texts = [tuple(register) for register in registers]
    first, second = (
        tuple(
            Column(name=name, values=values, codes=codes)
            for name, values, codes in zip(names, texts, arrays, strict=False)
        )
        for arrays in coded
    )
    return first, second


def read_header(path: Path, *, delimiter: str = ",") -> tuple[str, ...]:
    """Names of the columns, checked: none empty, none twice."""
    with rows_of(path, delimiter=delimiter) as (header, _):
        return header


@contextmanager
def rows_of(
    path: Path, *, delimiter: str = ","
) -> Iterator[tuple[tuple[str, ...], Iterator[list[str]]]]:
    """Open a table: its header and its rows, each as wide as the header.

    Raises
    ------
    InputError
        While opening or reading: see `read_columns`.
    """
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open("r", encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(_lines(stream), delimiter=delimiter, strict=True)
            header = tuple(next(reader, ()))
            _check_header(header)
            yield header, _checked(reader, len(header))
    except UnicodeDecodeError:
        raise _refused("bytes that are no UTF-8") from None
    except csv.Error:
        raise _refused("a field that ends nowhere, is misquoted or too long") from None
    except OSError:
        raise _refused("no file that can be read") from None
    finally:
        csv.field_size_limit(before)


def _encode(
    path: Path, names: Sequence[str], registers: list[_Register], *, delimiter: str
) -> list[Codes]:
    parts: list[list[Codes]] = [[] for _ in names]
    with rows_of(path, delimiter=delimiter) as (header, rows):
        absent = sum(name not in header for name in names)
        if absent:
            raise _refused(f"{absent} of the plan's columns missing")
        places = [header.index(name) for name in names]
        count = 0
        while chunk := list(islice(rows, _CHUNK)):
            count += len(chunk)
            columns = list(zip(*chunk, strict=True))
            for part, place, register in zip(parts, places, registers, strict=True):
                codes = map(register.__getitem__, columns[place])
                part.append(np.fromiter(codes, dtype=np.int32, count=len(chunk)))
    if not count:
        raise _refused("no row below the header")
    return [np.concatenate(part) for part in parts]


def _lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
            raise _refused(f"a line longer than {LONGEST_LINE} characters")
        if "\0" in line:
            raise _refused("a NUL character")
        yield line


def _checked(reader: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    for number, row in enumerate(reader, start=1):
        if len(row) != width:
            if not row:  # a blank line, as editors leave at the end
                continue
            raise _refused(f"{len(row)} fields in row {number} below a header of {width}")
        yield row


def _check_header(header: tuple[str, ...]) -> None:
    if not header:
        raise _refused("no header line")
    if len(header) > MOST_COLUMNS:
        raise _refused(f"more than {MOST_COLUMNS} columns")
    if not all(name.strip() for name in header):
        raise _refused("a column without a name")
    if len(set(header)) != len(header):
        raise _refused("two columns of one name")


def _refused(got: str) -> InputError:
    return InputError(
        "the table",
        got=got,
        expected="a CSV file in UTF-8: one header line, then rows of the same width",
        do="mend the file, or say its delimiter in the plan",
    )
