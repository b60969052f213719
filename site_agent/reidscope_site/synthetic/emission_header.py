"""What a PET's DICOM header says beyond an MR's, of a synthetic person."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import PositronEmissionTomographyImageStorage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.synthetic.particulars import Particulars

_MR_ALONE = (
    *("MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "ScanOptions"),
    *("MRAcquisitionType", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle"),
    "EchoTrainLength",
)
_UPTAKE = timedelta(minutes=62)
_HALF_LIFE_S, _DOSE_BQ = 6586.2, 2.0e8
_LARGEST = 32767


def as_pet(header: Dataset, known: Particulars) -> None:
    """Make a PET's header of an MR's, in place: FDG, static, corrected."""
    for keyword in _MR_ALONE:
        if keyword in header:
            delattr(header, keyword)
    header.SOPClassUID = PositronEmissionTomographyImageStorage
    header.Modality = "PT"
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.ManufacturerModelName = "Average PET"
    header.StudyDescription = f"PET BRAIN {known.family}"
    header.SeriesDescription = "FDG BRAIN STATIC AC"
    header.ProtocolName = "fdg_brain"
    header.SeriesType = ["STATIC", "IMAGE"]
    header.Units = "BQML"
    header.CountsSource = "EMISSION"
    header.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    header.AttenuationCorrectionMethod = "CT"
    header.DecayCorrection = "START"
    header.CollimatorType = "NONE"
    header.ReconstructionMethod = "OSEM"
    header.RandomsCorrectionMethod = "DLYD"
    header.FrameReferenceTime = "300000"
    header.ActualFrameDuration = "600000"
    header.DecayFactor = "1.05"
    header.PatientSize = "1.7"
    scanned = datetime.combine(known.scanned, known.scanned_at)
    injected = scanned - _UPTAKE
    tracer = Dataset()
    tracer.Radiopharmaceutical = "Fluorodeoxyglucose"
    tracer.RadiopharmaceuticalStartTime = f"{injected:%H%M%S}"
    tracer.RadiopharmaceuticalStartDateTime = f"{injected:%Y%m%d%H%M%S}"
    tracer.RadionuclideTotalDose = f"{_DOSE_BQ:g}"
    tracer.RadionuclideHalfLife = f"{_HALF_LIFE_S:g}"
    header.RadiopharmaceuticalInformationSequence = Items([tracer])


def scaled(dataset: Dataset, activity: NDArray[np.float32]) -> NDArray[np.int16]:
    """Write down a slice's own scale, and return its samples; as scanners do, slice by slice."""
    slope = max(float(activity.max()), 1.0) / _LARGEST
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.10g}", "0"
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
    samples: NDArray[np.int16] = np.rint(activity / slope).astype("<i2")
    return samples
