"""Statement bytes in frames of a constant size, so that a length tells nothing."""

from __future__ import annotations

from reidscope_protocols.errors import MalformedError

RELEASE_FRAME = 64 << 10  # bytes
CONSTANT_CHUNK = 1 << 20  # bytes
_LENGTH_BYTES = 4


def pad(content: bytes, *, frame: int = RELEASE_FRAME) -> bytes:
    """Put `content` into a frame of exactly `frame` bytes: length, content, zeros."""
    if len(content) + _LENGTH_BYTES > frame:
        raise MalformedError(
            "frame",
            got=f"{len(content)} bytes",
            expected=f"at most {frame - _LENGTH_BYTES}",
            do="ask for a smaller table",
        )
    head = len(content).to_bytes(_LENGTH_BYTES, "big")
    return (head + content).ljust(frame, b"\0")


def unpad(framed: bytes, *, frame: int = RELEASE_FRAME) -> bytes:
    """Take the content out of a frame, refusing any other size or trailing bytes."""
    length = int.from_bytes(framed[:_LENGTH_BYTES], "big")
    content = framed[_LENGTH_BYTES : _LENGTH_BYTES + length]
    whole = len(framed) == frame and len(content) == length
    if not whole or any(framed[_LENGTH_BYTES + length :]):
        raise MalformedError(
            "frame",
            got=f"{len(framed)} bytes that are no frame",
            expected=f"one frame of {frame} bytes",
            do="send it again",
        )
    return content
