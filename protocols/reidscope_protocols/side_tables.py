"""The cells of the tables beside the joint one: failed gates, and damage to the brain.

Each person falls into exactly one cell of each table, like everywhere else; each table is charged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from reidscope_protocols.cells import NOT_ACQUIRED
from reidscope_protocols.errors import MalformedError

DAMAGE_CLASSES = ("none", "below 0.1%", "below 1%", "below 5%", "5% or more")
"""Share of the brain that a defacer took, in classes that everybody shares."""

DAMAGE_EDGES = (0.0, 0.001, 0.01, 0.05)
"""The first class ends with its edge, the others before theirs."""

SERIOUS_DAMAGE = "1% or more"
"""The classes from 1% on together: what a reader asks about first."""

_SERIOUS = DAMAGE_CLASSES[3:]
_MOST_ARMS = 9
_PASSED, _FAILED = "passed", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCells:
    """One bit a defacer: did the gates let the scan that it made pass.

    Attributes
    ----------
    defacers : tuple of str
        In the study's order, without `unmodified`; at most nine.
    """

    defacers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.defacers) <= _MOST_ARMS or len(set(self.defacers)) < len(
            self.defacers
        ):
            raise MalformedError(
                "table of failed gates",
                got=f"{len(self.defacers)} defacers, or one twice",
                expected=f"1 to {_MOST_ARMS} different defacers",
                do="correct the study",
            )

    def __len__(self) -> int:
        return (1 << len(self.defacers)) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Every cell's label, in the table's order; `not acquired` is the last."""
        answers = product((_PASSED, _FAILED), repeat=len(self.defacers))
        return (
            *(
                ";".join(f"{arm}={said}" for arm, said in zip(self.defacers, row, strict=True))
                for row in answers
            ),
            NOT_ACQUIRED,
        )

    def index(self, passed: Mapping[str, bool] | None) -> int:
        """Position of a person's cell; None for a scan that was not read as a head.

        Privacy
        -------
        Exact and about one person: may not leave the site (docs/privacy.md, "One person, one
        cell").
        """
        if passed is None:
            return len(self) - 1
        position = 0
        for arm in self.defacers:
            position = 2 * position + int(not passed[arm])
        return position


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageCells:
    """How much of the brain one defacer took: the classes that everybody shares."""

    def __len__(self) -> int:
        return len(DAMAGE_CLASSES) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Every class, then `not acquired`."""
        return (*DAMAGE_CLASSES, NOT_ACQUIRED)

    def index(self, share: float | None) -> int:
        """Position of a person's cell; `share` of the brain within [0, 1], None if there is none.

        A total function, NaN included (`not acquired`): whether a table is released may not hang on
        one person's data.

        Privacy
        -------
        Exact and about one person: may not leave the site (docs/privacy.md, "One person, one
        cell").
        """
        if share is None or math.isnan(share):
            return len(self) - 1
        return 0 if share <= 0 else sum(share >= edge for edge in DAMAGE_EDGES)


def weights_of_failed(labels: Sequence[str], *, arm: str) -> tuple[int, ...]:
    """Weight of each cell of a gate table, 0 or 1, in the rate of scans that `arm` failed on."""
    return tuple(int(f"{arm}={_FAILED}" in label.split(";")) for label in labels)


def weights_of_damage(labels: Sequence[str], *, lost: str) -> tuple[int, ...]:
    """Weight of each cell of a damage table, 0 or 1, in the rate of a class or `SERIOUS_DAMAGE`."""
    classes = _SERIOUS if lost == SERIOUS_DAMAGE else (lost,)
    return tuple(int(label in classes) for label in labels)
