"""Constants that the installation brings along, by role: used where their sha256 is the study's."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site.face.weights import installed_model_bytes

_TEMPLATE_FILES = ("average_head.npz", "brain_mask.npz")


def template_bytes() -> bytes:
    """Return the shipped average head and its brain mask, one after the other."""
    data = resources.files("reidscope_site") / "data"
    return b"".join((data / name).read_bytes() for name in _TEMPLATE_FILES)


def installed_constants() -> dict[ConstantRole, Callable[[], bytes]]:
    """Return readers of the installed constants."""
    return {
        ConstantRole.DETECTOR: lambda: installed_model_bytes().detector,
        ConstantRole.RECOGNISER: lambda: installed_model_bytes().recogniser,
        ConstantRole.TEMPLATE: template_bytes,
    }
