"""A scan written for another program and read back: NIfTI or DICOM, without a name on it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from reidscope_protocols.errors import DefacerFailedError, GeometryError
from reidscope_site.face.slices import read_any_slices
from reidscope_site.face.volume import Volume, isotropic, to_ras, volume_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MR_IMAGE = UID("1.2.840.10008.5.1.4.1.1.4")
_LARGEST_SAMPLE = (1 << 15) - 1
_SAME_MM = 0.05
_MOST_BYTES_PER_VOXEL = 32
_NUMERIC = "iuf"


def write_nifti(voxels: NDArray[np.generic], affine: NDArray[np.float64], path: Path) -> None:
    """Write voxels with their affine and an otherwise empty header."""
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def read_nifti(path: Path, like: Volume, *, not_a_number_is_air: bool = False) -> Volume:
    """Read what a program wrote, on the grid of `like`.

    Parameters
    ----------
    path : Path
        Its output.
    like : Volume
        Its input.
    not_a_number_is_air : bool
        Whether voxels that are no numbers become 0; else they are refused.

    Raises
    ------
    DefacerFailedError
        Unreadable, or not that grid.
    """
    try:
        if path.stat().st_size > like.voxels.size * _MOST_BYTES_PER_VOXEL:
            raise failed("a file far larger than its input")
        image = nibabel.load(path)
        if int(np.prod(image.shape)) != like.voxels.size:
            raise failed("another geometry")
        if image.get_data_dtype().kind not in _NUMERIC:
            raise failed("no numbers")
        voxels = np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3])
        if not_a_number_is_air:
            voxels = np.where(np.isnan(voxels), np.float32(0), voxels)
        return on_the_grid(to_ras(voxels, image.affine), like)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error):
        raise failed("a file that cannot be read") from None


def write_dicom(volume: Volume, folder: Path) -> None:
    """Write axial slices without a person: UIDs of this run, no name, no date."""
    folder.mkdir()
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    top = float(volume.voxels.max())
    slope = top / _LARGEST_SAMPLE if top > 0 else 1.0
    for index in range(volume.voxels.shape[2]):
        x, y, z = (volume.affine @ [0, 0, index, 1])[:3]
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = _MR_IMAGE
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.SeriesInstanceUID, one.StudyInstanceUID = series, study
        one.FrameOfReferenceUID = frame
        one.Modality, one.PatientName, one.PatientID = "MR", "", ""
        one.InstanceNumber, one.SeriesNumber = index + 1, 1
        one.ImagePositionPatient = [f"{-x:.6g}", f"{-y:.6g}", f"{z:.6g}"]
        one.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        one.PixelSpacing, one.SliceThickness = [1, 1], 1
        one.Columns, one.Rows = volume.voxels.shape[:2]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.PixelRepresentation = 1
        one.RescaleSlope, one.RescaleIntercept = f"{slope:.10g}", 0
        samples = np.rint(volume.voxels[:, :, index].T / slope)
        one.PixelData = samples.astype("<i2").tobytes()
        one.save_as(folder / f"{index:04}.dcm", enforce_file_format=True)


def read_dicom(folder: Path, like: Volume) -> Volume:
    """Read the slices that a program wrote, on the grid of `like`.

    Raises
    ------
    DefacerFailedError
        No volume, or not that grid.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if len(files) != like.voxels.shape[2]:
        raise failed("another number of slices")
    try:
        # 0 is air as in what was written, though some programs call whatever they write a CT
        slices = replace(read_any_slices(files), dark=0.0)
        return on_the_grid(isotropic(volume_of(slices)), like)
    except GeometryError:
        raise failed("slices that make no volume") from None


def on_the_grid(volume: Volume, like: Volume) -> Volume:
    """Refuse a volume that has another grid than `like`, or holds what is no number."""
    if volume.voxels.shape != like.voxels.shape or (
        np.abs(volume.affine - like.affine).max() > _SAME_MM
    ):
        raise failed("another geometry")
    if not np.isfinite(volume.voxels).all():
        raise failed("voxels that are no numbers")
    return volume


def failed(got: str) -> DefacerFailedError:
    """Error that says what an external defacer left instead of a defaced scan."""
    return DefacerFailedError(
        "an external defacer",
        got=got,
        expected="the same scan with another face or none",
        do="leave the scan out, or try the program by hand",
    )
