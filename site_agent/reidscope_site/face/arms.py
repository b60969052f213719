"""The arms of the face experiment: what is done to a scan before the attacker sees it.

`unmodified`, and every module of `face/deface/`: another defacer is one more file there, with a
`NAME` and an `apply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from reidscope_site.face import deface

if TYPE_CHECKING:
    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

UNMODIFIED = "unmodified"


class Apply(Protocol):
    """Deface one 1 mm scan."""

    def __call__(self, volume: Volume, registration: Registration) -> Volume:
        """Return a new volume on the same grid: a function of this one scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A named way of treating a scan."""

    name: str
    apply: Apply


def _unmodified(volume: Volume, registration: Registration) -> Volume:  # noqa: ARG001  # as `Apply` asks
    return volume


def _collected() -> Mapping[str, Arm]:
    arms = {UNMODIFIED: Arm(name=UNMODIFIED, apply=_unmodified)}
    for found in sorted(iter_modules(deface.__path__), key=lambda module: module.name):
        method = import_module(f"{deface.__name__}.{found.name}")
        arms[method.NAME] = Arm(name=method.NAME, apply=method.apply)
    return MappingProxyType(arms)


ARMS: Mapping[str, Arm] = _collected()
"""By name, `unmodified` first."""
