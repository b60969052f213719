"""Where text is: rapidocr's detector, from the models in its wheel, on one thread.

Only boxes are asked for. What a text says is not read, so it can neither be stored nor decide what
is blanked: every text counts, the L and R of a side too.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from reidscope_deid.burned_in.mask import Box
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_protocols.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from reidscope_deid.burned_in.rendering import Picture

_MODEL = "models/PP-OCRv6_det_small.onnx"
_TILE = 1280  # pixels; larger pictures are looked at in parts, so that memory stays bounded
_OVERLAP = 160  # pixels
_SHORTEST = 128  # pixels
_LINE = 48  # pixels; no taller is a line of text on any picture
_TALL, _TALLEST = 0.08, 0.2  # of the longer side: a line, and one that is also long
_LONG = 3.0  # times as long as tall
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


class _Found(Protocol):
    boxes: np.ndarray | None


class _Engine(Protocol):
    def __call__(
        self, picture: Picture, *, use_det: bool, use_cls: bool, use_rec: bool
    ) -> _Found: ...


class TextDetector:
    """Finds text in pictures.

    Parameters
    ----------
    engine : callable
        An instance of ``rapidocr.RapidOCR``.

    Privacy
    -------
    Nothing is fetched, and nothing is written: the model is named by its path, so that rapidocr
    does not look for another, and onnxruntime, which from 1.32 on keeps a database of its use in
    the home folder and sends it to its maker, is told not to before it is imported
    (docs/privacy.md, "De-identification").
    """

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine

    def boxes(self, picture: Picture) -> list[Box]:
        """Find rectangles that hold lines of text.

        Over speckle and slow shades without text, the detector takes whole organs, or the whole
        picture, for one text: what is too tall for a line is not believed.

        Parameters
        ----------
        picture : ndarray
            Shape (rows, columns, 3), 0 to 255.

        Raises
        ------
        QuarantinedError
            The detector fails.
        """
        boxes = []
        for part, top, left, scale in _parts(picture):
            try:
                found = self._engine(
                    _padded(part), use_det=True, use_cls=False, use_rec=False
                ).boxes
            except Exception:  # noqa: BLE001 - rapidocr raises many kinds; unseen is not passed on
                raise QuarantinedError(Reason.BURNED_IN) from None
            for corners in () if found is None else np.asarray(found, dtype=np.float64):
                if not _is_line(corners, longest=max(part.shape)):
                    continue
                (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
                boxes.append(
                    Box(
                        top + int(np.floor(y0 * scale)),
                        left + int(np.floor(x0 * scale)),
                        top + int(np.ceil(y1 * scale)) + 1,
                        left + int(np.ceil(x1 * scale)) + 1,
                    )
                )
        return boxes


@cache
def text_detector() -> TextDetector:
    """Make the detector, once for a process.

    Raises
    ------
    UnsupportedError
        rapidocr or its model is not installed.
    """
    found = find_spec("rapidocr")
    model = Path(found.origin).parent / _MODEL if found is not None and found.origin else None
    if model is None or not model.is_file():
        raise UnsupportedError(
            "clean-pixel-data",
            got="no detector of text",
            expected="rapidocr 3.10 with the model in its wheel",
            do="install reidscope[burned-in]",
        )
    os.environ.setdefault(_NO_TELEMETRY, "1")
    from rapidocr import RapidOCR  # noqa: PLC0415 - an extra, and two seconds to import

    return TextDetector(
        # Safety: rapidocr is untyped; `_Engine` is how its documentation calls it.
        cast(
            "_Engine",
            RapidOCR(
                params={
                    "Global.log_level": "critical",
                    "Global.use_cls": False,
                    "Global.use_rec": False,
                    "Det.model_path": str(model),
                    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            ),
        )
    )


def _is_line(corners: NDArray[np.float64], *, longest: int) -> bool:
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    short, long = sorted((max(sides[0], sides[2]), max(sides[1], sides[3])))
    if short <= max(_LINE, _TALL * longest):
        return True
    return bool(short <= _TALLEST * longest and long >= _LONG * short)


def _padded(picture: Picture) -> Picture:
    """Picture without a side so short that enlarging it to the detector's size fills memory."""
    missing = [max(_SHORTEST - side, 0) for side in picture.shape[:2]]
    if not any(missing):
        return picture
    return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)))


def _parts(picture: Picture) -> Iterator[tuple[Picture, int, int, int]]:
    """Parts of a picture, where they begin, and how much smaller they are."""
    rows, columns = picture.shape[:2]
    if max(rows, columns) <= _TILE + _OVERLAP:
        yield picture, 0, 0, 1
        return
    step = -(-max(rows, columns) // _TILE)
    yield np.ascontiguousarray(picture[::step, ::step]), 0, 0, step  # for large letters
    for top in range(0, max(rows - _OVERLAP, 1), _TILE):
        for left in range(0, max(columns - _OVERLAP, 1), _TILE):
            part = picture[top : top + _TILE + _OVERLAP, left : left + _TILE + _OVERLAP]
            yield np.ascontiguousarray(part), top, left, 1
