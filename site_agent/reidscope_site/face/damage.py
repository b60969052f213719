"""What a defacer costs those who use the scan: brain lost, brain found again, head removed.

The brain is the registered average head's: the same mask for every defacer, at no further cost. The
Dice is between it and the same mask laid onto the defaced scan by registering anew, without a look
at the original: what a reader's pipeline would do who only has the defaced scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reidscope_protocols.side_tables import DAMAGE_CLASSES, DAMAGE_EDGES, DamageCells
from reidscope_site.face.regions import brain, head, in_scan
from reidscope_site.face.register import register
from reidscope_site.face.unsendable import Unsendable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reidscope_site.face.register import Registration
    from reidscope_site.face.volume import Volume

__all__ = ["DAMAGE_CLASSES", "DAMAGE_EDGES", "Damage", "damage_class", "measure"]

_DARK = 0.2
"""A voxel darker than this share of the brain's median brightness holds no brain."""
_ML = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage(Unsendable):
    """What a defacer cost.

    Attributes
    ----------
    brain_lost : float
        Share, 0 to 1, of the registered brain's bright voxels that went dark.
    brain_changed : float
        Share of the registered brain whose brightness differs by more than rounding.
    head_removed_ml : float
        Millilitres of the registered head that went dark.
    head_removed : float
        The same as a share of the head's bright voxels.
    brain_dice : float or None
        Overlap of the registered brain before with that of registering the defaced scan anew;
        None where it was not asked for.

    Privacy
    -------
    Exact and about one person: stays at the site; its class may be a cell (docs/privacy.md, "What
    stays at the site").
    """

    brain_lost: float
    brain_changed: float
    head_removed_ml: float
    head_removed: float
    brain_dice: float | None = None


def measure(
    before: Volume, after: Volume, registration: Registration, *, again: bool = False
) -> Damage:
    """Compare a 1 mm scan with itself defaced.

    Parameters
    ----------
    before, after : Volume
        On the same grid.
    registration : Registration
        Of `before`.
    again : bool
        Whether to register `after` anew for `brain_dice`: up to two seconds.
    """
    shape = before.voxels.shape
    brainy = in_scan(brain(), registration, shape)
    bodily = in_scan(head(), registration, shape)
    inside = before.voxels[brainy]
    dark = _DARK * float(np.median(inside)) if inside.size else 0.0
    noticeable = float(np.percentile(before.voxels[::3, ::3, ::3], 99.5)) / 1000
    lost = (before.voxels > dark) & (after.voxels <= dark)
    changed = np.abs(after.voxels[brainy] - inside) > noticeable
    return Damage(
        brain_lost=_share(lost, brainy & (before.voxels > dark)),
        brain_changed=float(changed.mean()) if changed.size else 0.0,
        head_removed_ml=float((lost & bodily).sum()) / _ML,
        head_removed=_share(lost, bodily & (before.voxels > dark)),
        brain_dice=_dice(brainy, in_scan(brain(), register(after), shape)) if again else None,
    )


def damage_class(damage: Damage) -> int:
    """Index into `DAMAGE_CLASSES` of what a defacer did to the brain."""
    return DamageCells().index(damage.brain_lost)


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    count = int(whole.sum())
    return float((part & whole).sum()) / count if count else 0.0


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * float((one & other).sum()) / both if both else 1.0
