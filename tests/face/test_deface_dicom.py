"""Defacing from DICOM to DICOM, through the de-identifier's own command."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.pixels import compress
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from reidscope_deid import SiteKey, audit_output, deidentify_tree, load_profile
from reidscope_deid.faces import find_defacer
from reidscope_deid.reasons import Reason
from reidscope_deid.record import Record
from reidscope_deid.uids import UidMap
from reidscope_protocols.errors import UnsupportedError
from reidscope_site.face.arms import ARMS
from reidscope_site.face.gates import check
from reidscope_site.face.register import register
from reidscope_site.face.slices import read_slices
from reidscope_site.face.template import Template
from reidscope_site.face.volume import Volume, isotropic
from reidscope_site.synthetic.dicom import Plane, series
from reidscope_site.synthetic.particulars import particulars
from reidscope_site.synthetic.scan import scan
from reidscope_site.synthetic.seeds import PersonSeed, Population

pytestmark = pytest.mark.slow

KEY = SiteKey(bytes(range(32)))
BASIC = load_profile("basic", ("clean_recognizable_visual_features",))
SOMEBODY = PersonSeed(population=Population.SITE, label="gates", number=0)
FACE_GONE = "113102"


def write(folder: Path, head: Template, *, plane: Plane = Plane.AXIAL) -> list[Path]:
    """One synthetic person's series, every third slice of it."""
    folder.mkdir(parents=True)
    known = particulars(SOMEBODY, site="tests")
    paths = []
    for number, content in enumerate(series(scan(SOMEBODY, head), SOMEBODY, known, plane=plane)):
        if number % 3 == 0:
            path = folder / f"{number:03}.dcm"
            path.write_bytes(content)
            paths.append(path)
    return paths


def changed(paths: list[Path], change: object) -> None:
    for path in paths:
        data_set = pydicom.dcmread(path)
        new = change(data_set)  # type: ignore[operator]  # a function of the test's own
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, new if new is not None else data_set, enforce_file_format=True)
        path.write_bytes(stream.getvalue())


def run(tmp_path: Path, name: str, jobs: int = 1) -> Record:
    return deidentify_tree(
        tmp_path / "in",
        tmp_path / "out",
        key=KEY,
        profile=BASIC,
        jobs=jobs,
        durable=False,
        defacer=(name, find_defacer(name)),
    )


def outputs(folder: Path) -> list[pydicom.FileDataset]:
    found = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    return sorted(found, key=lambda one: int(one.InstanceNumber))


@pytest.mark.parametrize("plane", [Plane.SAGITTAL, Plane.AXIAL])
def test_a_defaced_series_has_no_face_and_the_same_brain(
    tmp_path: Path, head: Template, plane: Plane
) -> None:
    originals = write(tmp_path / "in", head, plane=plane)
    record = run(tmp_path, "facemask")
    assert (record.written, record.failures, dict(record.left_out)) == (len(originals), 0, {})
    counted = record.actions["faces"]
    assert counted["series defaced"] == counted["series a face detector looked at"] == 1
    assert counted["series with a face found before defacing"] == 1
    new = outputs(tmp_path / "out")
    for one in new:
        codes = [code.CodeValue for code in one.DeidentificationMethodCodeSequence]
        assert codes == ["113100", FACE_GONE, "113107"]
        assert one.RecognizableVisualFeatures == "NO"
    before = read_slices(originals)
    after = read_slices(list((tmp_path / "out").rglob("*.dcm")))
    differ = before.stored != after.stored
    assert 0.01 < differ.mean() < 0.3
    assert np.array_equal(before.affine, after.affine)
    (background,) = np.unique(after.stored[differ])  # cut to one level of air, all of it
    assert background < 0.02 * before.stored.max()
    report = audit_output(
        (tmp_path / "out").rglob("*.dcm"), originals, profile=BASIC, uids=UidMap(KEY)
    )
    assert report.clean
    assert report.compared == len(originals)


@pytest.mark.parametrize("name", ["reface", "skullstrip", "external-quickshear"])
def test_every_other_defacer_writes_what_its_own_gates_vouch_for(
    tmp_path: Path, head: Template, name: str
) -> None:
    originals = write(tmp_path / "in", head)
    assert run(tmp_path, name).written == len(originals)
    before = read_slices(originals)
    after = read_slices(list((tmp_path / "out").rglob("*.dcm")))
    differ = before.stored != after.stored
    assert 0.005 < differ.mean() < (1 if name == "skullstrip" else 0.4)


def test_a_defacer_that_only_blurs_is_refused_and_nothing_is_written(
    tmp_path: Path, head: Template
) -> None:
    originals = write(tmp_path / "in", head)
    record = run(tmp_path, "blur")
    assert record.written == 0
    assert dict(record.left_out) == {Reason.FACE: len(originals)}
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_air_is_minus_a_thousand_in_a_ct(tmp_path: Path, head: Template) -> None:
    def as_ct(data_set: pydicom.Dataset) -> None:
        data_set.Modality = "CT"
        data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = (
            "1.2.840.10008.5.1.4.1.1.2"
        )
        data_set.RescaleSlope, data_set.RescaleIntercept = 1, -1024
        stored = data_set.pixel_array.astype(np.int32) // 2 + 24
        data_set.PixelData = stored.astype("<u2").tobytes()

    originals = write(tmp_path / "in", head)
    changed(originals, as_ct)
    assert run(tmp_path, "facemask").written == len(originals)
    before = read_slices(originals)
    after = read_slices(list((tmp_path / "out").rglob("*.dcm")))
    differ = before.stored != after.stored
    assert differ.any()
    assert set(np.unique(after.stored[differ])) == {24}  # -1000 HU


@pytest.mark.parametrize(("encoding", "jobs"), [("implicit", 1), ("big endian", 1), ("rle", 2)])
def test_every_encoding_comes_out_with_the_same_samples(
    tmp_path: Path, head: Template, encoding: str, jobs: int
) -> None:
    def encoded(data_set: pydicom.FileDataset) -> None:
        if encoding == "rle":
            compress(data_set, RLELossless, generate_instance_uid=False)
            return
        if encoding == "big endian":
            data_set.PixelData = data_set.pixel_array.astype(">u2").tobytes()
            data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
            for tag in [tag for tag in data_set if tag.tag.is_private]:
                del data_set[tag.tag]
        else:
            data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    write(tmp_path / "plain/in", head)
    plain = run(tmp_path / "plain", "facemask")
    originals = write(tmp_path / "in", head)
    for path in originals:
        data_set = pydicom.dcmread(path)
        encoded(data_set)
        little = encoding != "big endian"
        stream = io.BytesIO()
        pydicom.dcmwrite(
            stream,
            data_set,
            implicit_vr=encoding == "implicit",
            little_endian=little,
            force_encoding=True,
        )
        path.write_bytes(stream.getvalue())
    record = run(tmp_path, "facemask", jobs)
    assert record.written == plain.written == len(originals)
    for new, old in zip(outputs(tmp_path / "out"), outputs(tmp_path / "plain/out"), strict=True):
        assert np.array_equal(new.pixel_array, old.pixel_array)
        assert new.SOPInstanceUID == old.SOPInstanceUID


def test_a_series_that_is_no_volume_is_left_out_and_a_knee_is_not_looked_at(
    tmp_path: Path, head: Template
) -> None:
    originals = write(tmp_path / "in", head)
    for path in originals[5:]:
        path.unlink()  # a slab: a head that no defacer can be laid onto

    def knee(data_set: pydicom.Dataset) -> None:
        data_set.BodyPartExamined = "KNEE"
        data_set.SeriesInstanceUID = data_set.SeriesInstanceUID + "1"
        data_set.SOPInstanceUID = data_set.SOPInstanceUID + "1"
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID

    other = tmp_path / "in/knee.dcm"
    other.write_bytes(originals[0].read_bytes())
    changed([other], knee)
    record = run(tmp_path, "facemask")
    assert record.written == 1
    assert dict(record.left_out) == {Reason.FACE: 5}
    (one,) = outputs(tmp_path / "out")
    codes = [code.CodeValue for code in one.DeidentificationMethodCodeSequence]
    assert FACE_GONE not in codes
    assert "RecognizableVisualFeatures" not in one


def test_a_defacer_that_cuts_the_brain_does_not_pass(head_scan: Volume) -> None:
    torch.set_num_threads(1)
    before = isotropic(head_scan)
    registration = register(before)
    after = ARMS["facemask"].apply(before, registration)
    assert check(before, after, registration).passed
    after.voxels[:, 100:, 120:] = 0
    gates = check(before, after, registration)
    assert gates.face_gone
    assert not gates.brain_whole


def test_the_gates_let_no_untouched_and_no_blurred_face_through(head_scan: Volume) -> None:
    torch.set_num_threads(1)
    before = isotropic(head_scan)
    registration = register(before)
    for name in ("unmodified", "blur"):
        gates = check(before, ARMS[name].apply(before, registration), registration)
        assert gates.skin_left > 0.9
        assert not gates.passed


def test_a_defacer_that_is_not_installed_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        UnsupportedError,
        match=r"blur or .*facemask or quickshear or reface or skullstrip",
    ):
        find_defacer("gold")
