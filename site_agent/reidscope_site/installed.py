"""Constants that the installation brings along: used where their sha256 is the study's."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from reidscope_protocols.errors import InputError
from reidscope_protocols.recogniser import DLIB_RESNET, SFACE
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site.face.weights import installed_model_bytes, models_of

_TEMPLATE_FILES = ("average_head.npz", "brain_mask.npz")


def template_bytes() -> bytes:
    """Return the shipped average head and its brain mask, one after the other."""
    data = resources.files("reidscope_site") / "data"
    return b"".join((data / name).read_bytes() for name in _TEMPLATE_FILES)


def installed_constants() -> dict[ConstantRole, Callable[[str], bytes | None]]:
    """Return readers of the installed constants: from a sha256 to the file, None without one."""
    return {
        ConstantRole.DETECTOR: lambda _sha256: installed_model_bytes().detector,
        ConstantRole.RECOGNISER: _network,
        ConstantRole.TEMPLATE: lambda _sha256: template_bytes(),
    }


def _network(sha256: str) -> bytes | None:
    for declared in (SFACE, DLIB_RESNET):
        if sha256 in {part.sha256 for part in declared.parts}:
            try:
                return models_of(declared)[sha256]
            except InputError:
                return None  # an extra that is not installed here: the file is missing, no more
    return None
