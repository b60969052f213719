"""What every network must be, whatever its format: a fixed number of finite numbers a face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.recogniser import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_protocols.recogniser import RecogniserPart

LARGEST_FILE = 1 << 29  # bytes

_CORRECT = "correct the study's declaration, or export the network again"


class Network(Protocol):
    """A loaded network."""

    def describe(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers of one face.

        Parameters
        ----------
        blob : ndarray of float32
            One aligned face in the declared layout, normalised, with a leading axis of 1.

        Returns
        -------
        ndarray of float32
            Any shape: `checked` says whether it is the declared one.

        Raises
        ------
        MalformedError
            If the network cannot take it.

        Privacy
        -------
        A function of this one face and the weights (docs/privacy.md, "One person, one cell").
        """
        ...


def input_shape(part: RecogniserPart) -> tuple[int, int, int, int]:
    """Shape of the input that a declaration promises."""
    px = part.input_px
    if part.layout is Layout.NCHW:
        return 1, part.channels, px, px
    return 1, px, px, part.channels


def no_network(part: RecogniserPart, got: str) -> MalformedError:
    """Say that a file is not what the study declares it to be."""
    return MalformedError(
        f"the recogniser {part.sha256[:12]}",
        got=got,
        expected=f"a network in {part.format.value}, {input_shape(part)} to {part.dimension}",
        do=_CORRECT,
    )


def checked(values: NDArray[np.float32], part: RecogniserPart) -> NDArray[np.float32]:
    """Return a network's answer as (d,).

    Raises
    ------
    MalformedError
        If it is not d numbers, or not all are finite. Says nothing about their values.
    """
    flat = np.asarray(values, dtype=np.float32).reshape(-1)
    if len(flat) != part.dimension:
        raise no_network(part, f"an answer of {len(flat)} numbers")
    if not np.isfinite(flat).all():
        raise no_network(part, "an answer that is not all finite numbers")
    return flat


def size_allowed(content: bytes, part: RecogniserPart) -> None:
    """Raise MalformedError if a file is empty or beyond `LARGEST_FILE`."""
    if not 0 < len(content) <= LARGEST_FILE:
        raise no_network(part, f"a file of {len(content)} bytes")
