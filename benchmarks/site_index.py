"""How long `reidscope-site index` takes: the first time, again, and after a few files changed.

    python benchmarks/site_index.py [--files 100000] [--slices 100]

Small synthetic slices (16 x 16) of people with one series and a photo each, in a temporary folder:
what is measured is walking, reading headers, judging geometry, rehearsing the de-identification and
keeping it all sealed. Real files are larger; their pixels are not read.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from reidscope_site.agent import Agent
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.enrol import make_keys
from reidscope_site.indexing import Indexed, index

_PATIENT, _STUDY, _SERIES = "PERSON-00000000", "1.2.3.10000000001", "1.2.3.20000000001"
_INSTANCE, _PLACE = "1.2.3.30000000001", "1000.25"
_CHANGED = 100


def _template() -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, _INSTANCE
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = _PATIENT, "Doe", "19500101"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _STUDY, _SERIES
    dataset.StudyDate = dataset.SeriesDate = "20200101"
    dataset.StudyTime = dataset.SeriesTime = "120000"
    dataset.Modality, dataset.BodyPartExamined = "MR", "HEAD"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.RepetitionTime = "3D", "3", "2000"
    dataset.ImagePositionPatient = ["-80", "-80", _PLACE]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [10, 10]
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.arange(256, dtype=np.uint16).tobytes()
    stream = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return bytes(stream.getvalue())


def _write(folder: Path, files: int, slices: int) -> int:
    """Write people until there are so many files; return how many people."""
    template = _template()
    people = files // slices
    (folder / "photos").mkdir()
    rows = ["patient_id,photo"]
    for person in range(people):
        place = folder / "dicom" / f"{person:08d}"
        place.mkdir(parents=True)
        mine = template.replace(_PATIENT.encode(), f"PERSON-{person:08d}".encode())
        for old in (_STUDY, _SERIES):
            mine = mine.replace(old.encode(), f"{old[:7]}{person + 1:010d}".encode())
        for number in range(slices):
            instance = f"1.2.3.3{person * slices + number:010d}".encode()
            content = mine.replace(_INSTANCE.encode(), instance)
            content = content.replace(_PLACE.encode(), f"{1000 + 1.5 * number:.2f}".encode())
            (place / f"{number:04d}.dcm").write_bytes(content)
        (folder / "photos" / f"{person}.png").write_bytes(b"photo")
        rows.append(f"PERSON-{person:08d},{person}.png")
    (folder / "links.csv").write_text("\n".join(rows) + "\n")
    return people


def _site(folder: Path) -> Agent:
    home = Home(folder / "home")
    config = SiteConfig(
        name="bench",
        dicom=str(folder / "dicom"),
        photos=str(folder / "photos"),
        links=str(folder / "links.csv"),
    )
    write_new_home(home, config, Policy(declared_people=20))
    make_keys(home)
    return Agent(home)


def _timed(what: str, agent: Agent) -> Indexed:
    wall, cpu = time.perf_counter(), time.process_time()
    found = index(agent)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    people = len(found.resolution.people)
    print(
        f"{what:24} {wall:8.1f} s wall {cpu:8.1f} s CPU; {people} people, {found.read} files read"
    )
    return found


def main() -> None:
    """Write, index, index again, change a few, index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--slices", type=int, default=100)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="site-index-"))
    try:
        people = _write(folder, asked.files, asked.slices)
        print(
            f"Python {platform.python_version()}, pydicom {pydicom.__version__},"
            f" {os.cpu_count()} cores, {people * asked.slices} files of {people} people"
        )
        agent = _site(folder)
        _timed("first", agent)
        _timed("again", agent)
        for path in sorted((folder / "dicom").rglob("*.dcm"))[:: max(1, asked.files // _CHANGED)]:
            os.utime(path, ns=(1, 1))
        _timed(f"{_CHANGED} files changed", agent)
        agent.close()
        size = (folder / "home" / "state.sqlite").stat().st_size
        print(f"state.sqlite {size / 2**20:.1f} MiB")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
