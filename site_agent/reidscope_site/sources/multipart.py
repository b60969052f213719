"""A multipart answer, read as it arrives: never more in memory than a chunk and a boundary.

The shape is RFC 2046's as DICOMweb uses it (PS3.18, 8.6): delimiter, header lines, an empty line,
the body, and so on to a closing delimiter. Header lines of the parts are not looked at: what a part
holds is told by its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator

from reidscope_protocols.errors import TransportError

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_LONGEST_HEAD = 64 << 10  # bytes


def boundary_of(content_type: str) -> bytes:
    """Boundary that a Content-Type names.

    Raises
    ------
    AnswerError
        It is no multipart answer.
    """
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or found is None:
        raise malformed_answer("no multipart answer with a boundary")
    return (found[1] or found[2]).encode("latin-1", "replace")


def parts(chunks: Iterable[bytes], boundary: bytes) -> Generator[bytes | None, None, None]:
    """Give the bodies of a multipart answer piece by piece.

    Parameters
    ----------
    chunks : iterable of bytes
        The answer as it arrives, cut anywhere.
    boundary : bytes
        From `boundary_of`.

    Yields
    ------
    bytes or None
        A piece of the body of the present part; None where that part is complete.

    Raises
    ------
    AnswerError
        The answer ends before its closing delimiter, or is no multipart answer.
    """
    delimiter = b"\r\n--" + boundary
    arriving = iter(chunks)
    # The first delimiter has no line before it, unless there is a preamble.
    held = b"\r\n"
    held = yield from _until(delimiter, held, arriving, kept=False)
    while True:
        held = _filled(held, 2, arriving)
        if held.startswith(b"--"):
            return
        while b"\r\n\r\n" not in held:
            if len(held) > _LONGEST_HEAD:
                raise malformed_answer("a part without an end of its header")
            held += _next(arriving)
        _, _, body = held.partition(b"\r\n\r\n")
        held = yield from _until(delimiter, body, arriving, kept=True)
        yield None


class AnswerError(TransportError):
    """An answer of the archive is not what DICOMweb says."""


def malformed_answer(got: str) -> AnswerError:
    """Error for an answer that is not what DICOMweb says."""
    return AnswerError(
        "the archive's answer",
        got=got,
        expected="an answer as DICOMweb (PS3.18) gives it",
        do="check dicomweb in site.toml, or tell whoever runs the archive",
    )


def _until(
    delimiter: bytes, held: bytes, arriving: Iterator[bytes], *, kept: bool
) -> Generator[bytes, None, bytes]:
    """Pass on what comes before a delimiter; return what follows it."""
    while True:
        at = held.find(delimiter)
        if at >= 0:
            if kept and at:
                yield held[:at]
            return held[at + len(delimiter) :]
        safe = len(held) - len(delimiter)
        if safe > 0:
            if kept:
                yield held[:safe]
            held = held[safe:]
        held += _next(arriving)


def _filled(held: bytes, length: int, arriving: Iterator[bytes]) -> bytes:
    while len(held) < length:
        held += _next(arriving)
    return held


def _next(arriving: Iterator[bytes]) -> bytes:
    chunk = next(arriving, None)
    if chunk is None:
        raise malformed_answer("an answer that ends too early")
    return chunk
