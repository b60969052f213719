"""Our defacers, as the de-identifier asks for them: a series in, new samples out, or a refusal.

Those of others come along as `external-<name>`, where their program is installed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from reidscope_deid.faces import DefacedSeries
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_protocols.errors import (
    ConstantMismatchError,
    DefacerFailedError,
    DefacerStoppedError,
    GeometryError,
    InputError,
)
from reidscope_protocols.programs import EXTERNAL
from reidscope_site.face.arms import ARMS, UNMODIFIED, Arm, resolve
from reidscope_site.face.detect import Detector
from reidscope_site.face.external.description import descriptions
from reidscope_site.face.external.program import installed, own_descriptions
from reidscope_site.face.recognise import SCAN_MIN_SCORE
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.face.writeback import deface_slices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reidscope_deid.faces import SeriesDefacer

_COARSE = "coarsen-"
"""No defacers: they blur the brain too, so that no gate would ever pass."""


def defacers() -> Mapping[str, SeriesDefacer]:
    """Every arm that may remove a face, by name: the entry point of `reidscope.defacers`."""
    ours = [name for name in ARMS if name != UNMODIFIED and not name.startswith(_COARSE)]
    others = [
        EXTERNAL + name
        for name, description in sorted(descriptions(own=own_descriptions()).items())
        if installed(description)
    ]
    return {name: partial(_deface, name) for name in (*ours, *others)}


def _deface(name: str, series: Sequence[Path]) -> DefacedSeries:
    # The same samples however many cores the machine has.
    torch.set_num_threads(1)
    arm = _arm(name)
    try:
        defaced = deface_slices(series, arm, detector=_detector())
    except (GeometryError, DefacerFailedError, DefacerStoppedError):
        raise QuarantinedError(Reason.FACE) from None
    if not replace(defaced.gates, intent=arm.intent).passed:
        raise QuarantinedError(Reason.FACE)
    scores = defaced.gates.detected
    return DefacedSeries(
        samples=dict(zip(defaced.instances, defaced.samples, strict=True)),
        detected=None
        if scores is None
        else (scores[0] >= SCAN_MIN_SCORE, scores[1] >= SCAN_MIN_SCORE),
    )


@cache
def _detector() -> Detector | None:
    """Give the detector for the record; None where its weights are not installed."""
    try:
        return Detector(installed_model_bytes().detector)
    except (InputError, ConstantMismatchError):
        return None


@cache
def _arm(name: str) -> Arm:
    """Look an arm up once a process: an external one runs its program for the version."""
    return resolve(name)
