"""A process of its own for decoders that a broken frame can crash.

GDCM decodes JPEG lossless, JPEG-LS and JPEG 2000, and ends its process on some frames that were
tampered with. So it runs in a child: what ends the child, or takes too long, refuses one file.

    request:  a line of JSON, then the frames
    reply:    a line of JSON, then the samples; an empty object where the frames do not decode
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reidscope_deid.burned_in.image import ImageFacts

_LIMIT_S = 120.0
_MEMORY = 8 << 30  # bytes
_LONGEST_LINE = 1 << 20  # bytes
_MODULE = "reidscope_deid.burned_in.decoder"


class Frames(BaseModel):
    """What a decoder has to know of frames.

    Attributes
    ----------
    syntax : str
        UID of their transfer syntax.
    plugin : str
        Name of pydicom's decoder.
    frames, rows, columns, samples, allocated, stored : int
        As in `ImageFacts`.
    signed, planar : bool
        As in `ImageFacts`.
    photometric : str
        As in `ImageFacts`.
    lengths : tuple of int
        Bytes of each frame.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    syntax: str
    plugin: str
    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    planar: bool
    photometric: str
    lengths: tuple[int, ...]


class Decoded(BaseModel):
    """What came out.

    Attributes
    ----------
    kind : str
        Of the samples, as NumPy writes it; empty where the frames do not decode.
    length : int
        Bytes.
    photometric : str
        What the decoder made of the colours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = ""
    length: int = 0
    photometric: str = ""


def decode(
    image: ImageFacts, streams: Sequence[bytes], syntax: str
) -> tuple[NDArray[np.generic], str]:
    """Decode frames with GDCM, in another process.

    Returns
    -------
    samples : ndarray
        One after the other.
    photometric : str
        What they mean now.

    Raises
    ------
    QuarantinedError
        No decoder for it, or frames that do not decode.
    """
    request = _request(image, streams, syntax, plugin="gdcm")
    try:
        return _child().decode(request, streams)
    except (OSError, ValueError, ValidationError):
        # It died, or was killed for taking too long: the next file gets a new one.
        _stop()
        raise QuarantinedError(Reason.BURNED_IN) from None


def decode_here(
    image: ImageFacts, streams: Sequence[bytes], syntax: str
) -> tuple[NDArray[np.generic], str]:
    """Decode run lengths, with pydicom's own decoder.

    Raises
    ------
    QuarantinedError
        Frames that do not decode.
    """
    found = _decoded(_request(image, streams, syntax, plugin="pydicom"), streams)
    if found is None:
        raise QuarantinedError(Reason.MALFORMED)
    return found


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more: what the child does."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    while line := requests.readline(_LONGEST_LINE):
        request = Frames.model_validate_json(line)
        found = _decoded(request, [requests.read(length) for length in request.lengths])
        if found is None:
            replies.write(b"{}\n")
        else:
            samples, photometric = found
            reply = Decoded(kind=samples.dtype.str, length=samples.nbytes, photometric=photometric)
            replies.write(reply.model_dump_json().encode("ascii") + b"\n")
            replies.write(samples.tobytes())
        replies.flush()


@dataclass(frozen=True, slots=True)
class _Child:
    """One process, and who started it: a fork must not share its pipes."""

    process: subprocess.Popen[bytes]
    parent: int

    def decode(self, request: Frames, streams: Sequence[bytes]) -> tuple[NDArray[np.generic], str]:
        requests, replies = self.process.stdin, self.process.stdout
        if requests is None or replies is None:
            raise ValueError("a child without pipes")
        timer = threading.Timer(_LIMIT_S, self.process.kill)
        timer.start()
        try:
            requests.write(request.model_dump_json().encode("ascii") + b"\n")
            requests.writelines(streams)
            requests.flush()
            reply = Decoded.model_validate_json(replies.readline(_LONGEST_LINE))
            content = replies.read(reply.length)
        finally:
            timer.cancel()
        if not reply.kind:
            raise QuarantinedError(Reason.BURNED_IN)
        return np.frombuffer(content, np.dtype(reply.kind)), reply.photometric


_children: dict[int, _Child] = {}


def _child() -> _Child:
    """Return this process's child, started at the first call."""
    parent = os.getpid()
    if parent not in _children:
        _children.clear()
        _children[parent] = _Child(
            subprocess.Popen(  # noqa: S603 - this interpreter and module; -P: nothing of the working folder
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ),
            parent,
        )
    return _children[parent]


def _stop() -> None:
    child = _children.pop(os.getpid(), None)
    if child is not None:
        child.process.kill()
        child.process.wait()


def _request(image: ImageFacts, streams: Sequence[bytes], syntax: str, *, plugin: str) -> Frames:
    return Frames(
        syntax=syntax,
        plugin=plugin,
        frames=image.frames,
        rows=image.rows,
        columns=image.columns,
        samples=image.samples,
        allocated=image.allocated,
        stored=image.stored,
        signed=image.signed,
        planar=image.planar,
        photometric=image.photometric,
        lengths=tuple(map(len, streams)),
    )


def _decoded(request: Frames, streams: Sequence[bytes]) -> tuple[NDArray[np.generic], str] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote elements
            samples, meta = get_decoder(UID(request.syntax)).as_array(
                _data_set(request, streams), raw=True, decoding_plugin=request.plugin
            )
    except Exception:  # noqa: BLE001 - pydicom and GDCM raise many kinds, with values in them
        return None
    return np.ascontiguousarray(samples).reshape(-1), str(meta["photometric_interpretation"])


def _data_set(request: Frames, streams: Sequence[bytes]) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(request.syntax)
    data_set.Rows, data_set.Columns = request.rows, request.columns
    data_set.NumberOfFrames, data_set.SamplesPerPixel = request.frames, request.samples
    data_set.BitsAllocated, data_set.BitsStored = request.allocated, request.stored
    data_set.HighBit, data_set.PixelRepresentation = request.stored - 1, int(request.signed)
    data_set.PhotometricInterpretation = request.photometric
    if request.samples > 1:
        data_set.PlanarConfiguration = int(request.planar)
    data_set.PixelData = encapsulate(list(streams))
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return data_set


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
