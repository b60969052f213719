"""De-identified PET keeps what uptake is worked out of, and nothing that names anybody."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from reidscope_deid import SiteKey, audit_output, deidentify_files, load_profile
from reidscope_deid.bids.dataset import clean_dataset
from reidscope_deid.reasons import Reason

Slice = Callable[..., Path]
KEY = SiteKey(bytes(range(32)))
CANARY = "Zq9Canary"
PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"


def tracer(start: str) -> Dataset:
    made = Dataset()
    made.Radiopharmaceutical = f"FDG {CANARY}"
    made.RadiopharmaceuticalStartTime = start[8:]
    made.RadiopharmaceuticalStartDateTime = start
    made.RadionuclideTotalDose = "2.1e8"
    made.RadionuclideHalfLife = "6586.2"
    made.RadiopharmaceuticalAdministrationEventUID = "1.2.3.4.5"
    made.RadiopharmaceuticalRoute = CANARY
    block = made.private_block(0x0029, CANARY, create=True)
    block.add_new(1, "LO", CANARY)
    return made


@pytest.fixture
def pet(slice_file: Slice, tmp_path: Path) -> Callable[..., Dataset]:
    """De-identify one slice of a PET that was injected before midnight and scanned after it."""

    def run(profile: str, *options: str, injected: str = "20200316235500") -> Dataset:
        path = slice_file(SOPClassUID=PET_STORAGE)
        dataset = pydicom.dcmread(path)
        dataset.Modality, dataset.Units = "PT", "BQML"
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20200317"
        dataset.SeriesTime = dataset.AcquisitionTime = "005500"
        dataset.SeriesType, dataset.CorrectedImage = ["DYNAMIC", "IMAGE"], ["ATTN", "DECY"]
        dataset.FrameReferenceTime, dataset.ActualFrameDuration = "300000", "600000"
        dataset.DecayCorrection, dataset.DecayFactor = "START", "1.05"
        dataset.NumberOfTimeSlices, dataset.RescaleSlope, dataset.RescaleIntercept = 6, "0.61", "0"
        dataset.PatientWeight, dataset.PatientSize = "71", "1.7"
        dataset.RadiopharmaceuticalInformationSequence = [tracer(injected)]
        block = dataset.private_block(0x0009, CANARY, create=True)
        block.add_new(1, "LO", CANARY)
        dataset.save_as(path)
        out = tmp_path / "out"
        out.mkdir()
        rules = load_profile(profile, options)
        done = deidentify_files([path], out, key=KEY, profile=rules)
        assert audit_output(done.files, [path], profile=rules).document()["findings"] == []
        assert CANARY.encode() not in done.files[0].read_bytes()
        return pydicom.dcmread(done.files[0])

    return run


def minutes_since_injection(dataset: Dataset) -> float:
    item = dataset.RadiopharmaceuticalInformationSequence[0]
    begun = datetime.strptime(  # noqa: DTZ007  # DICOM's own local times, compared with one another
        dataset.AcquisitionDate + dataset.AcquisitionTime, "%Y%m%d%H%M%S"
    )
    injected = datetime.strptime(  # noqa: DTZ007  # as above
        str(item.RadiopharmaceuticalStartDateTime)[:14], "%Y%m%d%H%M%S"
    )
    return (begun - injected).total_seconds() / 60


@pytest.mark.parametrize(
    ("profile", "options"),
    [("basic", ()), ("basic", ("retain-patient-characteristics",)), ("research-neuro", ())],
)
def test_the_time_since_injection_survives_moved_dates_over_midnight(
    pet: Callable[..., Dataset], profile: str, options: tuple[str, ...]
) -> None:
    new = pet(profile, *options)
    item = new.RadiopharmaceuticalInformationSequence[0]
    assert new.AcquisitionDate != "20200317"
    assert minutes_since_injection(new) == 60
    assert (item.RadionuclideTotalDose, item.RadionuclideHalfLife) == (2.1e8, 6586.2)
    assert (new.Units, new.DecayCorrection, float(new.DecayFactor)) == ("BQML", "START", 1.05)
    assert (float(new.FrameReferenceTime), new.NumberOfTimeSlices) == (300000, 6)
    assert list(new.CorrectedImage) == ["ATTN", "DECY"]
    assert float(new.RescaleSlope) == 0.61


def test_weight_and_size_stay_by_their_option_alone(pet: Callable[..., Dataset]) -> None:
    assert not pet("basic").get("PatientWeight")


def test_weight_and_size_for_uptake_stay_where_characteristics_are_retained(
    pet: Callable[..., Dataset],
) -> None:
    new = pet("basic", "retain-patient-characteristics")
    assert (float(new.PatientWeight), float(new.PatientSize)) == (71, 1.7)


def test_nothing_private_and_no_event_identifier_stays_in_the_tracers_item(
    pet: Callable[..., Dataset],
) -> None:
    item = pet("basic").RadiopharmaceuticalInformationSequence[0]
    assert not any(element.tag.is_private for element in item)
    assert item.get("RadiopharmaceuticalAdministrationEventUID") != "1.2.3.4.5"


SIDECAR: dict[str, Any] = {
    "Modality": "PT",
    "Units": "Bq/mL",
    "TracerName": "FDG",
    "TracerRadionuclide": "F18",
    "InjectedRadioactivity": 200,
    "InjectedRadioactivityUnits": "MBq",
    "FrameTimesStart": [0, 60, 120],
    "FrameDuration": [60, 60, 60],
    "AttenuationCorrection": "CTAC",
    "ScanStart": 3600,
    "TimeZero": "15:31:52",
    "ManufacturersModelName": CANARY,
    "InstitutionName": CANARY,
    "ReconMethodName": CANARY,
    "Anaesthesia": CANARY,
}


def bids(root: Path) -> Path:
    folder = root / "sub-0007DOE" / "ses-baseline" / "pet"
    folder.mkdir(parents=True)
    for stem, frames in (("trc-FDG_pet", 3), (f"trc-{CANARY}_rec-acstat_pet", 1)):
        path = folder / f"sub-0007DOE_ses-baseline_{stem}.nii.gz"
        made = nibabel.Nifti1Image(np.ones((3, 4, 5, frames), np.float32), np.eye(4))
        made.header["descrip"] = CANARY.encode()
        nibabel.save(made, path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(SIDECAR))
    (folder / "sub-0007DOE_ses-baseline_recording-manual_blood.tsv").write_text(CANARY)
    (folder / "sub-0007DOE_ses-baseline_T1w.nii.gz").write_bytes(b"not a place for it")
    (root / "sub-0007DOE" / "ses-baseline" / "sub-0007DOE_ses-baseline_scans.tsv").write_text(
        "filename\tacq_time\npet/sub-0007DOE_ses-baseline_trc-FDG_pet.nii.gz\t2019-02-03T10:11:12\n"
    )
    return root


def test_a_bids_pet_and_its_sidecar_are_cleaned_as_others_are(tmp_path: Path) -> None:
    record = clean_dataset(bids(tmp_path / "in"), tmp_path / "out", key=KEY)
    assert record.written == {"images": 2, "sidecars": 2, "tables": 1}
    assert record.left_out == {Reason.NOT_OFFERED: 2}
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        whole = gzip.decompress(content) if path.suffix == ".gz" else content
        assert CANARY.encode() not in str(path).encode() + whole
    said = json.loads(
        next(path for path in files if path.name.endswith("FDG_pet.json")).read_text()
    )
    gone = {"TimeZero", "ManufacturersModelName", "InstitutionName", "ReconMethodName"}
    assert said == {key: SIDECAR[key] for key in set(SIDECAR) - gone - {"Anaesthesia"}}
    (image,) = [path for path in files if path.name.endswith("trc-FDG_pet.nii.gz")]
    assert nibabel.load(image).shape == (3, 4, 5, 3)
    (table,) = [path for path in files if path.name.endswith("_scans.tsv")]
    assert table.read_text().splitlines()[1].startswith("pet/sub-P")
