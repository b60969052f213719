"""One synthetic person in every arm, as the attacker sees it, and repaired: docs/arms.png.

python benchmarks/face_arms.py [--out docs/arms.png] [--number 3]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from reidscope_site.face import gates
from reidscope_site.face.arms import ARMS, UNMODIFIED
from reidscope_site.face.describe import take_in
from reidscope_site.face.repair import repair
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import template
from reidscope_site.face.volume import Volume
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

SIZE = 256
BAND = 34
CROP = 40


def main(
    out: Annotated[Path, typer.Option()] = Path("docs/arms.png"),
    number: Annotated[int, typer.Option(min=0)] = 3,
) -> None:
    """Draw two rows: each arm as it is, and what a repairing attacker makes of it."""
    torch.set_num_threads(1)
    seed = PersonSeed(population=Population.SITE, label="pictures", number=number)
    head = take_in(scan(seed, template()))
    assert head is not None
    columns = [np.vstack([titled(photo(seed, template()), "photo"), titled(None, "")])]
    for name, arm in ARMS.items():
        treated = arm.apply(head.volume, head.registration)
        repaired = None if name == UNMODIFIED else repair(treated)
        passed = (
            name == UNMODIFIED
            or gates.check(head.volume, treated, head.registration, intent=arm.intent).passed
        )

        def seen(volume: Volume | None) -> NDArray[np.uint8] | None:
            return None if volume is None else face_picture(volume, head.registration)

        title = name if passed else f"{name}: refused"
        below = "" if repaired is None else "repaired"
        columns.append(np.vstack([titled(seen(treated), title), titled(seen(repaired), below)]))
    half = (len(columns) + 1) // 2
    blank = np.full_like(columns[0], 255)
    columns += [blank] * (2 * half - len(columns))
    page = np.vstack([np.hstack(columns[:half]), np.hstack(columns[half:])])
    cv2.imwrite(str(out), page[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{out}: {page.shape[1]} x {page.shape[0]}")


def titled(picture: NDArray[np.uint8] | None, title: str) -> NDArray[np.uint8]:
    """Put a title over a picture; white where there is none."""
    inner = SIZE - 2 * CROP
    shown = (
        np.full((SIZE - CROP // 2, inner, 3), 255, np.uint8)
        if picture is None
        else picture[: SIZE - CROP // 2, CROP:-CROP]
    )
    band = np.full((BAND, inner, 3), 255, np.uint8)
    cv2.putText(band, title, (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA)
    joined: NDArray[np.uint8] = np.vstack([band, shown])
    return joined


if __name__ == "__main__":
    typer.run(main)
