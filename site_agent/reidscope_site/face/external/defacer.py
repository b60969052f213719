"""A command-line defacer as an arm: the scan handed over, the output disbelieved until checked.

    scan -> private folder -> program, alone -> output there? readable? same grid? changed? -> gates

The exit code says nothing: programs return 0 after failing and 1 over a warning. The gates
(`face.gates`) are the caller's, as for every arm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidscope_site.face.external.description import Description, filled
from reidscope_site.face.external.handover import (
    failed,
    read_dicom,
    read_nifti,
    write_dicom,
    write_nifti,
)
from reidscope_site.face.external.leftovers import private_folder
from reidscope_site.face.external.process import run_alone
from reidscope_site.face.external.program import (
    Program,
    as_values,
    expected_version,
    find_program,
)
from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

_ROUNDING = 1000
_BRAIN = "brain.nii.gz"


@dataclass(frozen=True, kw_only=True)
class ExternalDefacer:
    """A described program that is installed.

    Attributes
    ----------
    description : Description
        How it is called.
    program : Path
        Where it lies.
    """

    description: Description
    program: Path

    @property
    def intent(self) -> Intent:
        """What the description says that it does with the skin."""
        return Intent(self.description.intent)

    @cached_property
    def version(self) -> str:
        """What the program says of itself, or its sha256: for the study's record."""
        return self._program.version()

    @property
    def _program(self) -> Program:
        return Program(description=self.description, path=self.program)

    def apply(self, volume: Volume, registration: Registration) -> Volume:
        """Deface one 1 mm scan; what the program left as it was keeps its very values.

        Raises
        ------
        DefacerFailedError
            What it left is no defaced scan: a function of this scan.
        DefacerStoppedError
            It did not end in time or did not start: says nothing about the scan.

        Privacy
        -------
        The program sees one scan: voxels and geometry, in a folder that only this user may enter
        and that is removed; no name is on the command line, and what it prints is not kept
        (docs/privacy.md, "Isolation").
        """
        asked = self.description
        with private_folder() as folder:
            scan, outputs = folder / asked.input_name, [folder / one for one in asked.outputs]
            if asked.format == "dicom":
                write_dicom(volume, scan)
            else:
                write_nifti(volume.voxels, volume.affine, scan)
            mask = folder / _BRAIN
            if "brain_mask" in asked.placeholders:
                inside = in_scan(brain(), registration, volume.voxels.shape)
                write_nifti(inside.astype(np.uint8), volume.affine, mask)
            environment = self._program.environment()
            values = as_values(environment) | {
                "input": str(scan),
                "output": str(outputs[0]),
                "folder": str(folder),
                "brain_mask": str(mask),
                "timeout_s": str(asked.timeout_s),
            }
            command = [str(self.program), *filled(asked.command[1:], values)]
            run_alone(command, folder=folder, environment=environment, timeout_s=asked.timeout_s)
            left = next((path for path in outputs if path.exists()), None)
            if left is None or left.is_symlink():
                raise failed("no output")
            if asked.format == "dicom":
                return _changed(volume, read_dicom(left, volume))
            empty = asked.not_a_number_is_air
            return _changed(volume, read_nifti(left, volume, not_a_number_is_air=empty))


def external_defacer(name: str, *, own: Path | None = None) -> ExternalDefacer:
    """Find an installed program by the name of its description.

    Raises
    ------
    UnsupportedError
        Not described, not installed, or of another version than its description expects.
    """
    program = find_program(name, own=own)
    expected_version(program)
    return ExternalDefacer(description=program.description, program=program.path)


def _changed(before: Volume, after: Volume) -> Volume:
    """Take from `after` what differs by more than rounding; nothing is refused."""
    noticeable = float(np.percentile(before.voxels[::3, ::3, ::3], 99.5)) / _ROUNDING
    differs = np.abs(after.voxels - before.voxels) > noticeable
    if not differs.any():
        raise failed("the scan as it was")
    return replace(before, voxels=np.where(differs, after.voxels, before.voxels))
