"""A person's photo as it is looked at: whole, or where somebody at the site marked the face.

file -> decoded, upright -> (around the mark) -> reduced
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from reidscope_site.face.detect import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.snapshot import PhotoBox

_NO_MEMORY = -4  # OpenCV's StsNoMem
_AROUND = 0.2  # of the box: hair and chin, which a hand leaves out
_BORDER = 0.3  # of what is cut out: a detector needs air around a face
_GREY = (128, 128, 128)


def read_photo(path: Path) -> NDArray[np.uint8] | None:
    """Read a photo as RGB, (rows, columns, 3), upright; None if it is none.

    Raises
    ------
    OSError, MemoryError
        A disk that fails or too little memory: nobody's cell.

    Privacy
    -------
    One person's photo: stays in the process (docs/privacy.md, "What stays at the site").
    """
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        # This person's own; a disk that fails goes up instead: it is nobody's cell.
        return None
    try:
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from None
        return None
    if decoded is None:
        return None
    picture: NDArray[np.uint8] = decoded.astype(np.uint8, copy=False)
    # In place: a second copy of a large photo would double the memory that it takes.
    cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)
    return picture


def looked_at(photo: NDArray[np.uint8], box: PhotoBox | None) -> NDArray[np.uint8]:
    """Give what the recogniser gets of a photo: reduced, and around `box` if there is one.

    Parameters
    ----------
    photo : ndarray of uint8
        (rows, columns, 3), RGB.
    box : tuple of 4 int or None
        Left, top, right, bottom in pixels of `photo`. A fifth of it around it is kept; beyond is
        grey, so that nobody else's face can be taken for the marked one.
    """
    if box is None:
        return fit(photo)
    left, top, right, bottom = box
    across, down = round((right - left) * _AROUND), round((bottom - top) * _AROUND)
    face = photo[
        max(0, top - down) : max(0, bottom + down), max(0, left - across) : max(0, right + across)
    ]
    if not face.size:
        return fit(photo)
    beside, above = (round(side * _BORDER) for side in (face.shape[1], face.shape[0]))
    framed = cv2.copyMakeBorder(
        face, above, above, beside, beside, cv2.BORDER_CONSTANT, value=_GREY
    )
    return fit(framed.astype(np.uint8, copy=False))
