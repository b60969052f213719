"""The public, ordered list of cells of a joint table: one person falls into exactly one of them.

A cell's label says, arm by arm, the largest anchor gallery at which the person is found (0 = lost),
or yes/no for a defaced arm, which is read at the smallest anchor alone:

    unmodified=1000;blur=yes;quickshear=no      ...      not acquired

and `blur/repairing=yes` where another attacker than the study's first reads a defaced arm, so that
anyone can recompute every rate from the counts. Where a study has groups, a label says the group
first: see `groups`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from reidscope_protocols.errors import MalformedError
from reidscope_protocols.vocabulary import UNMODIFIED

NOT_ACQUIRED = "not acquired"
LARGEST_TABLE = 4096
_SMALLEST_GALLERY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JointCells:
    """The cells of one face experiment.

    Attributes
    ----------
    anchors : tuple of int
        Gallery sizes at which the unmodified arm is read, ascending, each at least 2.
    defacers : tuple of str
        Columns read at the smallest anchor, in the study's order: a defaced arm, or `arm/attacker`;
        `unmodified` is not one of them.
    """

    anchors: tuple[int, ...]
    defacers: tuple[str, ...]

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in pairwise(self.anchors))
        if not self.anchors or not ascending or self.anchors[0] < _SMALLEST_GALLERY:
            raise MalformedError(
                "anchors",
                got=f"{len(self.anchors)} sizes",
                expected="ascending gallery sizes of at least 2",
                do="correct the study",
            )
        if len(set(self.defacers)) != len(self.defacers) or UNMODIFIED in self.defacers:
            raise MalformedError(
                "defacers",
                got="an arm twice, or the unmodified arm",
                expected="distinct defaced arms",
                do="correct the study",
            )
        if len(self) > LARGEST_TABLE:
            raise MalformedError(
                "joint table",
                got=f"{len(self)} cells",
                expected=f"at most {LARGEST_TABLE}",
                do="choose fewer arms on public people first",
            )

    def __len__(self) -> int:
        return ((len(self.anchors) + 1) << len(self.defacers)) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Every cell's label, in the table's order; `not acquired` is the last."""
        classes = (0, *self.anchors)
        answers = product(("no", "yes"), repeat=len(self.defacers))
        return (
            *(
                ";".join(
                    (
                        f"{UNMODIFIED}={found}",
                        *(f"{arm}={said}" for arm, said in zip(self.defacers, row, strict=True)),
                    )
                )
                for found, row in product(classes, answers)
            ),
            NOT_ACQUIRED,
        )

    def index(self, found_at: int, found_defaced: Mapping[str, bool]) -> int:
        """Position of the cell of a person found at `found_at` (0 = lost) in the unmodified arm.

        Parameters
        ----------
        found_at : int
            0 or one of the anchors.
        found_defaced : mapping of str to bool
            For each defacer, whether the person is found at the smallest anchor.

        Privacy
        -------
        The position is exact and about one person: it may not leave the site (docs/privacy.md,
        "One person, one cell").
        """
        position = (0, *self.anchors).index(found_at)
        for arm in self.defacers:
            position = 2 * position + int(found_defaced[arm])
        return position

    @property
    def not_acquired(self) -> int:
        """Position of the cell of a person whose scan or photo shows no single face."""
        return len(self) - 1


def acquired(label: str) -> bool:
    """Whether people of the cell `label` showed a single face on both sides; groups or none."""
    return label.rpartition(";")[2] != NOT_ACQUIRED


def found_in(label: str, *, arm: str, gallery_size: int) -> bool:
    """Whether people of the cell `label` are found in `arm` among `gallery_size` faces.

    A defaced arm is read at the smallest anchor alone, whatever `gallery_size` says: the caller
    asks for no other.
    """
    if not acquired(label):
        return False
    said = dict(part.split("=", 1) for part in label.split(";"))
    return int(said[arm]) >= gallery_size if arm == UNMODIFIED else said[arm] == "yes"


def weights(labels: Sequence[str], *, arm: str, gallery_size: int) -> tuple[int, ...]:
    """Weight of each cell, 0 or 1, in the rate of people found in `arm` at `gallery_size`."""
    return tuple(int(found_in(label, arm=arm, gallery_size=gallery_size)) for label in labels)


def weights_of_any(
    labels: Sequence[str], *, arms: Sequence[str], gallery_size: int
) -> tuple[int, ...]:
    """Weight of each cell, 0 or 1, in the rate of people found in at least one of `arms`."""
    return tuple(
        int(any(found_in(label, arm=arm, gallery_size=gallery_size) for arm in arms))
        for label in labels
    )
