"""A person's scan becomes a volume: everything but voxels and their place in space goes first.

DICOM -> de-identified in the work folder -> sorted slices -> volume
NIfTI (and a PET's sidecars) -> voxels and affine alone    -> volume
"""

from __future__ import annotations

from pathlib import Path

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.series import deidentify_files
from reidscope_protocols.cohort import Modality
from reidscope_site.face.volume import Volume, read_volume
from reidscope_site.snapshot import Scan
from reidscope_site.sources.nifti_volume import read_nifti

_PROFILE = "basic"


def read_scan(scan: Scan, *, key: SiteKey, work: Path) -> Volume:
    """Read one scan of one person.

    Parameters
    ----------
    scan : Scan
        As the snapshot holds it.
    key : SiteKey
        The site's, for the de-identified copy.
    work : Path
        An existing folder of this person alone; the caller removes it.

    Raises
    ------
    DeidError
        The de-identifier leaves a file out.
    GeometryError
        The files are no volume of a head: which `SeriesProblem`, and nothing of the data.

    Privacy
    -------
    A function of one person's files. The volume knows neither name, date nor file (docs/privacy.md,
    "One person, one cell").
    """
    if scan.kind == "nifti":
        path, *sidecars = scan.files
        emission = scan.attributes.modality == Modality.PT
        return read_nifti(path, emission=emission, sidecars=sidecars)
    series = deidentify_files(
        scan.files, work, key=key, profile=load_profile(_PROFILE), durable=False
    )
    return read_volume(series.files)
