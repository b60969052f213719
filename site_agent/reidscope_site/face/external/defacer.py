"""A command-line defacer as an arm: the scan handed over, the output disbelieved until checked.

    scan -> private folder -> program, alone -> output there? readable? same grid? changed? -> gates

The exit code says nothing: programs return 0 after failing and 1 over a warning. The gates
(`face.gates`) are the caller's, as for every arm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from reidscope_protocols.errors import UnsupportedError
from reidscope_site.face.external.description import Description, described, filled
from reidscope_site.face.external.handover import (
    failed,
    read_dicom,
    read_nifti,
    write_dicom,
    write_nifti,
)
from reidscope_site.face.external.process import run_alone, version_said
from reidscope_site.face.intent import Intent
from reidscope_site.face.regions import brain, in_scan

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

EXTERNAL: Final = "external-"
"""Prefix of the arms of programs of others."""

OWN_DESCRIPTIONS: Final = "REIDSCOPE_DEFACERS"
"""Environment variable: a TOML file or a folder of such, where nothing else names one."""

_ALWAYS_PASSED = ("PATH", "LANG", "LC_ALL")
_ROUNDING = 1000
_FOLDER, _BRAIN = "reidscope-", "brain.nii.gz"
_HASH_LETTERS = 16


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
        asked, environment = self.description.version, _environment(self.description)
        teller = _which(asked[0]) if asked else None
        if teller is not None:
            words = filled(asked[1:], _as_values(environment))
            said = version_said([teller, *words], environment=environment)
            if said:
                return said
        return "sha256:" + hashlib.sha256(self.program.read_bytes()).hexdigest()[:_HASH_LETTERS]

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
        with tempfile.TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            scan, outputs = folder / asked.input_name, [folder / one for one in asked.outputs]
            if asked.format == "dicom":
                write_dicom(volume, scan)
            else:
                write_nifti(volume.voxels, volume.affine, scan)
            mask = folder / _BRAIN
            if "brain_mask" in asked.placeholders:
                inside = in_scan(brain(), registration, volume.voxels.shape)
                write_nifti(inside.astype(np.uint8), volume.affine, mask)
            environment = _environment(asked)
            values = _as_values(environment) | {
                "input": str(scan),
                "output": str(outputs[0]),
                "folder": name,
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
        Not described, or not installed.
    """
    description = described(name, own=own or own_descriptions())
    for program in description.needs:
        _found(program)
    return ExternalDefacer(description=description, program=Path(_found(description.command[0])))


def own_descriptions() -> Path | None:
    """Where the site keeps descriptions of its own, by the environment."""
    place = os.environ.get(OWN_DESCRIPTIONS)
    return Path(place) if place else None


def installed(description: Description) -> bool:
    """Whether the program of a description and all that it needs can be found; nothing is run."""
    programs = (description.command[0], *description.needs)
    return all(_which(program) is not None for program in programs)


def _changed(before: Volume, after: Volume) -> Volume:
    """Take from `after` what differs by more than rounding; nothing is refused."""
    noticeable = float(np.percentile(before.voxels[::3, ::3, ::3], 99.5)) / _ROUNDING
    differs = np.abs(after.voxels - before.voxels) > noticeable
    if not differs.any():
        raise failed("the scan as it was")
    return replace(before, voxels=np.where(differs, after.voxels, before.voxels))


def _environment(description: Description) -> dict[str, str]:
    passed = (*_ALWAYS_PASSED, *description.environment)
    return {name: os.environ[name] for name in passed if name in os.environ}


def _as_values(environment: dict[str, str]) -> dict[str, str]:
    return {f"env.{name}": value for name, value in environment.items()}


def _which(program: str) -> str | None:
    """On the path, or beside the running Python, where packages put their scripts."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(program) or shutil.which(program, path=beside)


def _found(program: str) -> str:
    place = _which(program)
    if place is None:
        raise UnsupportedError(
            "the external defacer",
            got="a program that is not installed",
            expected="it on the path",
            do="install it, or choose another defacer",
        )
    return place
