"""Every DICOM file that pydicom ships: it comes out clean, or is left out with a reason."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from reidscope_deid import (
    Profile,
    QuarantinedError,
    Reason,
    SiteKey,
    audit_output,
    deidentify_files,
    load_profile,
)
from reidscope_deid.options import OFFERED

FOLDER = Path(pydicom.__file__).parent / "data"


EVERYTHING = tuple(name for name in OFFERED if name != "retain_longitudinal_full_dates")


@pytest.mark.parametrize("options", [(), EVERYTHING], ids=["basic", "every option"])
def test_every_file_comes_out_clean_with_its_pixels_or_is_left_out_with_a_reason(
    options: tuple[str, ...], tmp_path: Path, key: SiteKey
) -> None:
    profile = load_profile("basic", options)
    taken: list[tuple[Path, Path]] = []
    reasons: Counter[Reason] = Counter()
    for number, path in enumerate(sorted(FOLDER.rglob("*"))):
        if not path.is_file():
            continue
        out = tmp_path / str(number)
        out.mkdir()
        try:
            taken.append((path, deidentify_files([path], out, key=key, profile=profile).files[0]))
        except QuarantinedError as error:
            reasons[error.reason] += 1
            assert not any(out.iterdir())
    assert len(taken) > 90
    syntaxes = set()
    for source, output in taken:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old, new = pydicom.dcmread(source), pydicom.dcmread(output)
            new.to_json_dict(bulk_data_threshold=1, bulk_data_element_handler=lambda _: "")
        syntaxes.add(new.file_meta.TransferSyntaxUID)
        assert new.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID
        assert new.get("PixelData") == old.get("PixelData")
        for keyword in ("Rows", "Columns", "ImagePositionPatient", "PixelSpacing", "RescaleSlope"):
            assert new.get(keyword) == old.get(keyword), keyword
    assert len(syntaxes) >= 5
    report = audit_output(
        [output for _, output in taken], [source for source, _ in taken], profile=profile
    )
    assert report.document()["findings"] == []
    # Unsound ones: what is cut short or says one thing and is another. The rest is left by design.
    unsound = {reason for reason in reasons if not reason.by_design}
    assert unsound <= {Reason.TRUNCATED, Reason.MALFORMED, Reason.UNVERIFIED}


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm"])
def test_a_real_image_decodes_to_the_same_samples(
    name: str, tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = pydicom.data.get_testdata_file(name)
    assert isinstance(path, str)
    done = deidentify_files([Path(path)], tmp_path, key=key, profile=profile)
    assert (pydicom.dcmread(done.files[0]).pixel_array == pydicom.dcmread(path).pixel_array).all()
