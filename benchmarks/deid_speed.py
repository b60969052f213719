"""CPU milliseconds a file: our engine with and without its second reader, beside pydicom alone.

    python benchmarks/deid_speed.py [--files 400]

Writes MR slices (256 x 256 x 16 bits, some 80 elements) and CT slices (512 x 512 x 16 bits, 180
private elements) to a temporary folder, then times one process. CPU time, not wall time: the disk
is not what is compared.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from reidscope_deid.keys import SiteKey
from reidscope_deid.part10 import deidentify_opened, open_part10
from reidscope_deid.profile import load_profile
from reidscope_deid.series import Deidentifier, deidentify_files

ROOT = "1.2.826.0.1.3680043.8.498.7"


def write_slices(folder: Path, count: int, *, computed: bool) -> list[Path]:
    """One series; `computed` for CT with private elements, else MR."""
    size, sop_class = (512, CTImageStorage) if computed else (256, MRImageStorage)
    noise = np.random.default_rng(7).integers(0, 4000, (size, size), dtype=np.uint16).tobytes()
    folder.mkdir()
    paths = []
    for number in range(count):
        data_set = make_slice(sop_class, size, number)
        if computed:
            block = data_set.private_block(0x0029, "ACME CT HEADER", create=True)
            for element in range(180):
                block.add_new(element, "LO", f"private value {element}")
        data_set.PixelData = noise
        data_set["PixelData"].VR = "OW"
        paths.append(folder / f"{number:05d}.dcm")
        data_set.save_as(paths[-1], enforce_file_format=True)
    return paths


def make_slice(sop_class: str, size: int, number: int) -> Dataset:
    """Elements of a usual scanner's slice."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
        "SOPClassUID": sop_class,
        "SOPInstanceUID": f"{ROOT}.3.{number}",
        "PatientName": "Doe^Jane",
        "PatientID": "MRN-0042",
        "PatientBirthDate": "19710823",
        "PatientSex": "F",
        "PatientAge": "048Y",
        "PatientWeight": "70",
        "Modality": "MR" if sop_class == MRImageStorage else "CT",
        "Manufacturer": "SIEMENS",
        "ManufacturerModelName": "Skyra",
        "StudyInstanceUID": f"{ROOT}.1",
        "SeriesInstanceUID": f"{ROOT}.2",
        "FrameOfReferenceUID": f"{ROOT}.4",
        "SeriesNumber": 3,
        "InstanceNumber": number + 1,
        "AcquisitionNumber": 1,
        "ImagePositionPatient": [-120.5, -110.25, number],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SliceLocation": number,
        "PixelSpacing": [1, 1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": size,
        "Columns": size,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RequestedProcedureID": "RP-1",
    }
    for name in ("Study", "Series", "Acquisition", "Content", "InstanceCreation"):
        values |= {f"{name}Date": "20200317", f"{name}Time": f"1430{number % 60:02d}.250000"}
    for text in [
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyID",
        "InstitutionName",
        "StationName",
        "StudyDescription",
        "SeriesDescription",
        "OperatorsName",
        "DeviceSerialNumber",
        "ProtocolName",
        "SoftwareVersions",
    ]:
        values[text] = f"Some {text}"[:16]
    for decimal in [
        "SliceThickness",
        "RepetitionTime",
        "EchoTime",
        "InversionTime",
        "NumberOfAverages",
        "ImagingFrequency",
        "MagneticFieldStrength",
        "PercentSampling",
        "PercentPhaseFieldOfView",
        "PixelBandwidth",
        "FlipAngle",
        "SAR",
        "WindowCenter",
        "WindowWidth",
        "RescaleIntercept",
        "RescaleSlope",
        "KVP",
        "TableHeight",
    ]:
        values[decimal] = "1.25"
    for code, value in {
        "ScanningSequence": "GR",
        "SequenceVariant": "SK",
        "ScanOptions": "PFP",
        "MRAcquisitionType": "3D",
        "BodyPartExamined": "HEAD",
        "PatientPosition": "HFS",
        "AngioFlag": "N",
        "InPlanePhaseEncodingDirection": "ROW",
    }.items():
        values[code] = value
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class
    reference.ReferencedSOPInstanceUID = f"{ROOT}.5.1"
    data_set.ReferencedImageSequence = [reference, reference]
    return data_set


def cpu_ms(work: Callable[[], object], files: int, *, repeats: int = 3) -> float:
    """Fewest CPU milliseconds a file among `repeats` runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / files * 1000


def time_series(name: str, paths: list[Path]) -> None:
    """Print one line a way of doing it."""
    key, profile = SiteKey(bytes(32)), load_profile("basic")
    contents = [path.read_bytes() for path in paths]

    def engine() -> None:
        made = Deidentifier.of(key, profile)
        for content in contents:
            deidentify_opened(
                open_part10(content),
                profile=profile,
                namer=made.namer,
                uids=made.uids,
                tally=made.tally,
            )

    def whole() -> None:
        with tempfile.TemporaryDirectory() as out:
            deidentify_files(paths, Path(out), key=key, profile=profile)

    def no_op() -> None:
        with tempfile.TemporaryDirectory() as out:
            for path in paths:
                pydicom.dcmread(path).save_as(Path(out, path.name))

    ways = {
        "reidscope, in memory, unverified": engine,
        "reidscope, read + write + verify": whole,
        "pydicom, read + write, no change": no_op,
    }
    for way, work in ways.items():
        print(f"{name}  {way:34} {cpu_ms(work, len(paths)):6.2f} ms CPU a file")


def main() -> None:
    """Time both series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200, help="slices a series")
    count = parser.parse_args().files
    print(f"Python {platform.python_version()}, pydicom {pydicom.__version__}, {count} files each")
    with tempfile.TemporaryDirectory() as folder:
        time_series("MR", write_slices(Path(folder, "mr"), count, computed=False))
        time_series("CT", write_slices(Path(folder, "ct"), count, computed=True))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
