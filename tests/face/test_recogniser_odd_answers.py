"""What a network says that cannot be meant: refused when it is loaded, or about one face alone."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.recogniser import SFACE, NetworkFormat
from reidscope_site.face.detect import Detector
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.recognisers.torchscript_network import TorchScriptNetwork
from reidscope_site.face.weights import installed_model_bytes

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

Numbers = NDArray[np.float32]
PART = SFACE.parts[0]


class Told:
    """A network that answers what it is told to."""

    def __init__(self, answer: Callable[[Numbers], Numbers]) -> None:
        self.answer = answer

    def describe(self, blob: Numbers) -> Numbers:
        """Numbers of one face."""
        return self.answer(blob)


def recogniser(answer: Callable[[Numbers], Numbers]) -> Recogniser:
    return Recogniser(SFACE, Detector(installed_model_bytes().detector), [Told(answer)])


def spread(blob: Numbers) -> Numbers:
    return np.linspace(0, float(blob.mean()), PART.dimension, dtype=np.float32)


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_a_network_that_says_the_same_of_every_face_is_refused(number: float) -> None:
    with pytest.raises(MalformedError, match="one answer to two pictures"):
        recogniser(lambda _: np.full(PART.dimension, number, np.float32))


def test_a_face_that_a_network_has_no_finite_numbers_for_is_not_described(
    picture: NDArray[np.uint8],
) -> None:
    """It is this person's own, and ends nobody else's turn."""
    factor = [1.0]
    made = recogniser(lambda blob: spread(blob) * np.float32(factor[0]))
    assert made.embed(picture).embedding is not None
    factor[0] = np.nan
    reading = made.embed_photo(picture)
    assert (reading.faces, reading.embedding) == (1, None)


class Raising(torch.nn.Module):
    """A module that says no, in words of its own."""

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        if bool(face.mean() >= 0):
            raise ValueError("SECRET words")
        return face


def test_a_module_that_raises_is_refused_in_one_line() -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Raising()), file)  # type: ignore[no-untyped-call]
    part = PART.model_copy(update={"format": NetworkFormat.TORCHSCRIPT})
    network = TorchScriptNetwork(file.getvalue(), part)
    with pytest.raises(MalformedError, match="fails when it is run") as caught:
        network.describe(np.zeros((1, 3, 112, 112), np.float32))
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)
