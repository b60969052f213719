"""A NIfTI file, rebuilt: numbers about the grid and the voxels; no text, no extension, no tail.

The header is copied by ranges of an allow-list into zeros, so that a text, a date or a name in any
other byte cannot pass. A `.nii.gz` loses the name and time that gzip keeps of the original.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from reidscope_deid.bids.allowed import HeaderLayout, allowed
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_LARGEST = 8 << 30  # bytes of voxels
_LEVEL = 6
_AXES = 7
_EXTENSION = bytes(4)
_MAGIC = {348: b"n+1\0", 540: b"n+2\0\r\n\x1a\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """Where one kind of header keeps what is looked at: offsets and struct codes."""

    magic: int
    kind: int
    dim: tuple[int, str]
    pixdim: tuple[int, str]
    offset: tuple[int, str]


_FIELDS = {
    348: _Fields(magic=344, kind=70, dim=(40, "h"), pixdim=(76, "f"), offset=(108, "f")),
    540: _Fields(magic=4, kind=12, dim=(16, "q"), pixdim=(104, "d"), offset=(168, "q")),
}


def clean_nifti(source: Path, target: Path) -> None:
    """Write a clean copy of one file, and verify what was written.

    Parameters
    ----------
    source : Path
        `.nii` or `.nii.gz`; only read.
    target : Path
        Of the same kind; must not exist, and does not exist if anything fails.

    Raises
    ------
    QuarantinedError
        It is no single-file NIfTI, ends before its last voxel, or is too large.

    Privacy
    -------
    Voxels are not changed: a face stays in them (docs/privacy.md, "De-identification").
    """
    packed = source.name.endswith(".gz")
    try:
        with _reading(source, packed=packed) as stream:
            header, skip, length = _rebuilt(stream)
            _skip(stream, skip)
            try:
                with os.fdopen(
                    os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
                ) as out:
                    _write(out, header, stream, length, packed=packed)
                    out.flush()
                    os.fsync(out.fileno())
                _verify(target, length, packed=packed)
            except BaseException:
                # Broad on purpose: whatever stopped it (Ctrl-C too), no half a file stays and the
                # error goes on.
                target.unlink(missing_ok=True)
                raise
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise QuarantinedError(Reason.TRUNCATED) from None
    except struct.error:
        raise QuarantinedError(Reason.MALFORMED) from None


def _reading(path: Path, *, packed: bool) -> BinaryIO:
    try:
        # Safety: both read bytes; gzip's type lacks a few names of BinaryIO that nobody uses here.
        return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")
    except OSError:
        raise QuarantinedError(Reason.UNREADABLE) from None


def _rebuilt(stream: BinaryIO) -> tuple[bytes, int, int]:
    """Give the new header with its empty extension, bytes to skip, and bytes of voxels."""
    start = stream.read(4)
    layout, order = _layout(start)
    old = start + _exactly(stream, layout.size - len(start))
    fields = _FIELDS[layout.size]
    magic = _MAGIC[layout.size]
    if old[fields.magic : fields.magic + len(magic)] != magic:
        raise QuarantinedError(Reason.MALFORMED)
    kind, bits = struct.unpack_from(f"{order}hh", old, fields.kind)
    at, code = fields.dim
    count, *dim = struct.unpack_from(f"{order}8{code}", old, at)
    used = dim[:count]
    wrong = not 1 <= count <= _AXES or any(each < 1 for each in used)
    if wrong or allowed().bits.get(kind) != bits:
        raise QuarantinedError(Reason.MALFORMED)
    length = math.prod(used) * bits // 8
    if length > _LARGEST:
        raise QuarantinedError(Reason.TOO_LARGE)
    place, number = fields.offset
    offset = struct.unpack_from(f"{order}{number}", old, place)[0]
    if not math.isfinite(offset) or not layout.size + 4 <= offset <= _LARGEST:
        raise QuarantinedError(Reason.MALFORMED)
    new = bytearray(layout.size)
    for first, end in layout.kept:
        new[first:end] = old[first:end]
    # Numbers of axes that are not there could hold anything.
    struct.pack_into(f"{order}{_AXES}{code}", new, at + struct.calcsize(code), *_ones(used))
    spare, wide = fields.pixdim
    size = struct.calcsize(wide)
    struct.pack_into(f"{(_AXES - count) * size}x", new, spare + (1 + count) * size)
    struct.pack_into(f"{order}{number}", new, place, layout.size + 4)
    return bytes(new) + _EXTENSION, int(offset) - layout.size, length


def _layout(start: bytes) -> tuple[HeaderLayout, str]:
    for order in ("<", ">"):
        layout = allowed().headers.get(struct.unpack(f"{order}i", start)[0])
        if layout is not None:
            return layout, order
    raise QuarantinedError(Reason.MALFORMED)


def _ones(used: list[int]) -> list[int]:
    return [*used, *[1] * (_AXES - len(used))]


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return data


def _skip(stream: BinaryIO, length: int) -> None:
    while length:
        length -= len(_exactly(stream, min(length, _CHUNK)))


def _write(out: BinaryIO, header: bytes, stream: BinaryIO, length: int, *, packed: bool) -> None:
    if packed:
        # No name and no time of the original.
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=_LEVEL, fileobj=out, mtime=0
        ) as inner:
            # Safety: as in `_reading`.
            _write(cast("BinaryIO", inner), header, stream, length, packed=False)
        return
    out.write(header)
    left = length
    while left:
        chunk = _exactly(stream, min(left, _CHUNK))
        out.write(chunk)
        left -= len(chunk)


def _verify(path: Path, length: int, *, packed: bool) -> None:
    """Read it again: nothing outside the allow-list, no extension, no tail."""
    with _reading(path, packed=packed) as stream:
        layout, _ = _layout(start := stream.read(4))
        header = bytearray(start + _exactly(stream, layout.size - len(start)))
        place, number = _FIELDS[layout.size].offset
        for first, end in (*layout.kept, (place, place + struct.calcsize(number))):
            header[first:end] = bytes(end - first)
        extended = _exactly(stream, len(_EXTENSION)) != _EXTENSION
        _skip(stream, length)
        if any(header) or extended or stream.read(1):
            raise QuarantinedError(Reason.UNVERIFIED)
