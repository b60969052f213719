"""Our defacers, as the de-identifier asks for them: a series in, new samples out, or a refusal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_protocols.errors import GeometryError
from reidscope_site.face.arms import ARMS, UNMODIFIED, Arm
from reidscope_site.face.evaluate import ACCEPTED_NCC
from reidscope_site.face.writeback import deface_slices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from reidscope_deid.faces import SeriesDefacer


def defacers() -> Mapping[str, SeriesDefacer]:
    """Every arm that changes a scan, by name: the entry point of `reidscope.defacers`."""
    return {name: partial(_deface, arm) for name, arm in ARMS.items() if name != UNMODIFIED}


def _deface(arm: Arm, series: Sequence[Path]) -> Mapping[str, NDArray[np.integer]]:
    # The same samples however many cores the machine has.
    torch.set_num_threads(1)
    try:
        defaced = deface_slices(series, arm)
    except GeometryError:
        raise QuarantinedError(Reason.FACE) from None
    if defaced.ncc < ACCEPTED_NCC or not defaced.gates.passed:
        raise QuarantinedError(Reason.FACE)
    return dict(zip(defaced.instances, defaced.samples, strict=True))
