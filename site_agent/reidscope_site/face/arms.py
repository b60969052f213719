"""The arms of the face experiment: what is done to a scan before the attacker sees it.

`unmodified`, and every module of `face/deface/`: another defacer is one more file there. An arm
named `external-<name>` is a program that the site has installed (`face.external`); it is looked up
when it is asked for, and nothing is run before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from reidscope_protocols.errors import UnsupportedError
from reidscope_protocols.programs import EXTERNAL
from reidscope_site.face import deface
from reidscope_site.face.external.defacer import external_defacer
from reidscope_site.face.intent import Intent

if TYPE_CHECKING:
    from pathlib import Path

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

UNMODIFIED = "unmodified"


class Apply(Protocol):
    """Deface one 1 mm scan."""

    def __call__(self, volume: Volume, registration: Registration) -> Volume:
        """Return a new volume on the same grid: a function of this one scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A named way of treating a scan.

    Attributes
    ----------
    name : str
        As studies write it.
    apply : Apply
        The treatment.
    intent : Intent
        What it means to do with the skin: the gates depend on it.
    version : str
        Of an external program, as it says itself; empty for our own.
    """

    name: str
    apply: Apply
    intent: Intent = Intent.REMOVED
    version: str = ""


def resolve(name: str, *, descriptions: Path | None = None) -> Arm:
    """Find an arm by its name.

    Parameters
    ----------
    name : str
        One of `ARMS`, or `external-<name>`.
    descriptions : Path, optional
        The site's own folder of descriptions; they come before the shipped ones.

    Raises
    ------
    UnsupportedError
        No such arm, or a program that is not installed or of another version than it should be.
    ConfigError
        A description that is none.
    """
    if name.startswith(EXTERNAL):
        defacer = external_defacer(name.removeprefix(EXTERNAL), own=descriptions)
        return Arm(name=name, apply=defacer.apply, intent=defacer.intent, version=defacer.version)
    if name not in ARMS:
        raise UnsupportedError(
            "the arm",
            got="another name",
            expected=f"one of {', '.join(ARMS)}, or {EXTERNAL}<name>",
            do="choose one",
        )
    return ARMS[name]


def _unmodified(volume: Volume, registration: Registration) -> Volume:  # noqa: ARG001  # as `Apply` asks
    return volume


def _collected() -> Mapping[str, Arm]:
    arms = {UNMODIFIED: Arm(name=UNMODIFIED, apply=_unmodified, intent=Intent.KEPT)}
    for found in sorted(iter_modules(deface.__path__), key=lambda module: module.name):
        method = import_module(f"{deface.__name__}.{found.name}")
        several = getattr(method, "ARMS", None) or ((method.NAME, method.apply),)
        for name, apply in several:
            arms[name] = Arm(name=name, apply=apply, intent=method.INTENT)
    return MappingProxyType(arms)


ARMS: Mapping[str, Arm] = _collected()
"""Built in, by name, `unmodified` first."""
