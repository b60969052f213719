"""Whether a photo is of a format that is read here: by its first bytes, without an image library.

What is not read counts as not acquired in a study, like a photo without a face. `index` says how
many there are, so that nobody learns it from a report.
"""

from __future__ import annotations

import re
from pathlib import Path

_READ = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|RIFF....WEBP"
    rb"|II\*\0|MM\0\*"  # TIFF
    rb"|BM|GIF8[79]a|P[1-6]\s"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|....ftypavi[fs]",
    re.DOTALL,
)
_HEAD = 16  # bytes


def is_read_here(photo: Path) -> bool:
    """Whether a photo's first bytes are those of a format that is decoded here.

    Privacy
    -------
    Nothing of the picture is looked at (docs/privacy.md, "What stays at the site").
    """
    try:
        with photo.open("rb") as stream:
            return _READ.match(stream.read(_HEAD)) is not None
    except OSError:
        return False
