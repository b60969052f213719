"""The opt-in tables of one column: how many public faces beat the mate, and larger galleries.

    face-u/COLUMN       class of the count of faces at least as similar as the mate  x  found at N
    face-beyond/COLUMN  largest N beyond the reference at which the person is found, by two tails

u = count / M is the false match rate at which a threshold of the probe's own would just let the
mate in: TAR at FMR f is the share of people with u <= f. Edges are whole numbers of faces, computed
exactly from public numbers; no floating-point number decides anybody's class of u.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise, product
from typing import Literal

from pydantic import Field

from reidscope_protocols.cells import NOT_ACQUIRED
from reidscope_protocols.errors import MalformedError
from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import Line

SCORE_TABLE = "face-u"
BEYOND_TABLE = "face-beyond"
PPM = 1_000_000
ABOVE_PPM = (50_000, 90_000, 200_000, 330_000)
"""Thresholds that tabular data's custodians use for a record's risk; here an analogy."""

FEWEST_FACES = 30
"""Rule of 30 (Doddington 1998): fewer false matches than that do not fix a false match rate."""

POOLED_SHARE = 20
"""A pooled tail is carried to one 1/20 of its pairs; beyond that the model alone speaks."""

MOST_CELLS = 512
_MEASURED_SHARE = 10
_MOST_SIZE = 10**9
_DIGITS = 60
_TIE = Decimal("1e-40")


def faces_at_fmr(fmr_ppm: int, *, reference_size: int) -> int:
    """Largest count of faces c with c / M <= f: floor(f M), in whole numbers."""
    return fmr_ppm * reference_size // PPM


def faces_at_fpir(fpir_ppm: int, gallery_size: int, *, reference_size: int) -> int:
    """Largest count of faces c with c / M <= f, where f = 1 - (1 - FPIR)^(1/N).

    N non-mates, each of whom a probe's own threshold lets in with chance f, let nobody in with
    chance (1 - f)^N = 1 - FPIR. Decimal arithmetic: the same on every machine.
    """
    edge = _faces(PPM - fpir_ppm, gallery_size, reference_size)
    return math.floor(edge + _TIE)


def faces_above(threshold_ppm: int, gallery_size: int, *, reference_size: int) -> int:
    """Largest count of faces c with (1 - c/M)^(N - 1) > t: u < 1 - t^(1/(N - 1)).

    Whoever is beaten by no more is ranked first among N with a chance above the threshold t.
    """
    edge = _faces(threshold_ppm, gallery_size - 1, reference_size)
    return math.ceil(edge - _TIE) - 1


def _faces(kept_ppm: int, draws: int, reference_size: int) -> Decimal:
    """M (1 - kept^(1/draws)), to sixty digits: an exact tie is told from a near one."""
    with localcontext() as context:
        context.prec = _DIGITS
        each = ((Decimal(kept_ppm) / PPM).ln() / draws).exp()
        return reference_size * (1 - each)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCells:
    """Class of the count of faces that beat the mate, crossed with where the person is found.

    Attributes
    ----------
    edges : tuple of int
        Largest count of each class but the last, ascending, within [0, M - 1].
    sizes : tuple of int
        Gallery sizes at which `found` is read beside, ascending; may be empty.
    reference_size : int
        M.
    """

    edges: tuple[int, ...]
    sizes: tuple[int, ...]
    reference_size: int

    def __post_init__(self) -> None:
        for what, numbers in (("edges", self.edges), ("gallery sizes", self.sizes)):
            if any(a >= b for a, b in pairwise(numbers)):
                raise _refused(what, got="not ascending", expected="ascending, each once")
        if not self.edges or self.edges[0] < 0 or self.edges[-1] >= self.reference_size:
            raise _refused(
                "edges", got=f"{len(self.edges)}", expected=f"some, below {self.reference_size}"
            )
        if len(self) > MOST_CELLS:
            raise _refused("table of u", got=f"{len(self)} cells", expected=f"at most {MOST_CELLS}")

    def __len__(self) -> int:
        return (len(self.edges) + 1) * (len(self.sizes) + 1) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Every cell's label: `beaten-by=0-111;found=100`; `not acquired` is the last."""
        ends = (*self.edges, self.reference_size)
        starts = (0, *(edge + 1 for edge in self.edges))
        found = [f";found={size}" for size in (0, *self.sizes)] if self.sizes else [""]
        return (
            *(
                f"beaten-by={first}-{last}{said}"
                for (first, last), said in product(zip(starts, ends, strict=True), found)
            ),
            NOT_ACQUIRED,
        )

    def index(self, beaten_by: int, found_at: int) -> int:
        """Position of a person's cell.

        Parameters
        ----------
        beaten_by : int
            Reference faces at least as similar to the probe as the mate, within [0, M].
        found_at : int
            0 or any gallery size: the largest at which the person is found.

        Privacy
        -------
        Exact and about one person: may not leave the site (docs/privacy.md, "One person, one
        cell").
        """
        found = sum(found_at >= size for size in self.sizes)
        return bisect_left(self.edges, beaten_by) * (len(self.sizes) + 1) + found

    @property
    def not_acquired(self) -> int:
        """Position of the cell of a person whose scan or photo shows no single face."""
        return len(self) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondCells:
    """Largest gallery beyond the reference at which a person is found, by each of two tails.

    Attributes
    ----------
    anchor : int
        The largest measured gallery: whoever is lost there is found in none that is larger.
    sizes : tuple of int
        Larger galleries, ascending.
    """

    anchor: int
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return (len(self.sizes) + 1) ** 2 + 2

    @property
    def labels(self) -> tuple[str, ...]:
        """Every cell's label: `gpd=100000;normal=1000`; `not acquired` is the last."""
        classes = (self.anchor, *self.sizes)
        return (
            "gpd=0;normal=0",
            *(f"gpd={one};normal={other}" for one, other in product(classes, classes)),
            NOT_ACQUIRED,
        )

    def index(self, gpd: int, normal: int) -> int:
        """Position of the cell of a person found at `gpd` and at `normal`; 0 and 0 for the lost.

        Privacy
        -------
        Exact and about one person: may not leave the site (docs/privacy.md, "One person, one
        cell").
        """
        if not gpd or not normal:
            return 0
        classes = (self.anchor, *self.sizes)
        return 1 + classes.index(gpd) * len(classes) + classes.index(normal)

    @property
    def not_acquired(self) -> int:
        """Position of the cell of a person whose scan or photo shows no single face."""
        return len(self) - 1


class OpenSet(Parsed):
    """One point of an open-set search: N people enrolled, and how often a stranger is let in."""

    gallery_size: int = Field(ge=2, le=_MOST_SIZE)
    fpir_ppm: int = Field(ge=1, lt=PPM)


class EdgeError(Parsed):
    """Standard deviation of the share beaten by at most `faces`, from ONE public gallery.

    Attributes
    ----------
    sigma_ppm : int
        Parts per million, from public probes over resampled public galleries.
    """

    faces: int = Field(ge=1)
    sigma_ppm: int = Field(ge=0, le=PPM)


class Scores(Parsed):
    """Which tables of u a study asks for: the same questions of each column.

    Attributes
    ----------
    columns : tuple of str
        Of the joint table: `unmodified`, `blur`, `facemask/repairing`.
    fmr_ppm : tuple of int
        False match rates at which the true accept rate is asked, ascending, parts per million.
    open_set : tuple of OpenSet
        Points at which the open-set identification rate with rank 1 is asked.
    above : tuple of int
        Gallery sizes at which the share of people above the thresholds of `ABOVE_PPM` is asked.
    edge_error : tuple of EdgeError
        One an edge, in order.
    """

    columns: tuple[Line, ...] = Field(min_length=1, max_length=9)
    fmr_ppm: tuple[int, ...] = Field(default=(), max_length=12)
    open_set: tuple[OpenSet, ...] = Field(default=(), max_length=12)
    above: tuple[int, ...] = Field(default=(), max_length=4)
    edge_error: tuple[EdgeError, ...] = ()

    def edges(self, reference_size: int) -> tuple[int, ...]:
        """Every edge that the questions need, in faces, ascending, each once."""
        return tuple(
            sorted(
                {
                    *(faces_at_fmr(f, reference_size=reference_size) for f in self.fmr_ppm),
                    *(
                        faces_at_fpir(one.fpir_ppm, one.gallery_size, reference_size=reference_size)
                        for one in self.open_set
                    ),
                    *(
                        faces_above(t, size, reference_size=reference_size)
                        for size in self.above
                        for t in ABOVE_PPM
                    ),
                }
            )
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Gallery sizes at which `found` is read beside u, ascending."""
        return tuple(sorted({one.gallery_size for one in self.open_set}))

    def cells(self, reference_size: int) -> ScoreCells:
        """Return the cells of each of the tables."""
        return ScoreCells(
            edges=self.edges(reference_size), sizes=self.sizes, reference_size=reference_size
        )

    def sigma(self, faces: int) -> float:
        """sigma_G of the share at one edge, in [0, 1]."""
        errors = {error.faces: error.sigma_ppm for error in self.edge_error}
        return errors[faces] / PPM

    def problem(
        self, *, columns: Sequence[str], anchors: Sequence[int], reference_size: int
    ) -> str:
        """Say what does not hold together; empty if all does."""
        if not (self.fmr_ppm or self.open_set or self.above):
            return "scores must ask for a false match rate, an open-set point or a threshold"
        if any(a >= b for a, b in pairwise(self.fmr_ppm)) or not all(
            0 < f < PPM for f in self.fmr_ppm
        ):
            return "fmr_ppm must be ascending rates between 0 and 1"
        if len(set(self.open_set)) < len(self.open_set) or len(set(self.above)) < len(self.above):
            return "open_set and above must name each point once"
        if not {*self.sizes, *self.above} <= set(anchors):
            return "gallery sizes of scores must be anchors of the study"
        return _columns_problem("scores", self.columns, columns) or self._edges_problem(
            reference_size
        )

    def _edges_problem(self, reference_size: int) -> str:
        edges = self.edges(reference_size)
        if edges[0] < FEWEST_FACES:
            return (
                f"f M must be at least {FEWEST_FACES} faces: a false match rate below "
                f"{FEWEST_FACES / reference_size:.6f} is not measured with {reference_size}"
            )
        if edges[-1] >= reference_size:
            return "every edge of u must be below 1"
        cells = (len(edges) + 1) * (len(self.sizes) + 1) + 1
        if cells > MOST_CELLS:
            return f"a table of u of {cells} cells: at most {MOST_CELLS}, ask for fewer points"
        if tuple(error.faces for error in self.edge_error) != edges:
            return "edge_error must give each edge once, in order"
        return ""


class TailError(Parsed):
    """Standard deviation of a rate beyond the reference from having few public probes, by model."""

    gallery_size: int = Field(ge=2, le=_MOST_SIZE)
    gpd_ppm: int = Field(ge=0, le=PPM)
    normal_ppm: int = Field(ge=0, le=PPM)


class PooledTail(Parsed):
    """How many public pairs the tail of one column was estimated from, and how surely.

    Attributes
    ----------
    error : tuple of TailError
        One a gallery size of the study, in order.
    """

    column: Line
    pairs: int = Field(ge=1)
    error: tuple[TailError, ...]

    def sigma(self, gallery_size: int, model: str) -> float:
        """Return the standard deviation of one model's rate, in [0, 1]."""
        one = next(error for error in self.error if error.gallery_size == gallery_size)
        return (one.gpd_ppm if model == "gpd" else one.normal_ppm) / PPM


class Beyond(Parsed):
    """Which larger galleries a study asks about, column by column.

    Attributes
    ----------
    tails : tuple of PooledTail
        One a column; the tails themselves are in the calibration.
    gallery_sizes : tuple of int
        Ascending, each beyond a tenth of the reference.
    """

    tails: tuple[PooledTail, ...] = Field(min_length=1, max_length=9)
    gallery_sizes: tuple[int, ...] = Field(min_length=1, max_length=6)

    def cells(self, anchor: int) -> BeyondCells:
        """Return the cells of each of the tables."""
        return BeyondCells(anchor=anchor, sizes=self.gallery_sizes)

    def problem(self, *, columns: Sequence[str], reference_size: int) -> str:
        """Say what does not hold together; empty if all does."""
        sizes = self.gallery_sizes
        if any(a >= b for a, b in pairwise(sizes)) or sizes[-1] > _MOST_SIZE:
            return f"gallery sizes beyond the reference must be ascending, at most {_MOST_SIZE}"
        if sizes[0] * _MEASURED_SHARE <= reference_size:
            return (
                f"galleries up to a tenth of {reference_size} faces are measured: name them as "
                "anchors"
            )
        if any(tuple(e.gallery_size for e in tail.error) != sizes for tail in self.tails):
            return "the error of each tail must give each gallery size once, in order"
        return _columns_problem("beyond", [tail.column for tail in self.tails], columns)


def _columns_problem(what: str, asked: Sequence[str], columns: Sequence[str]) -> str:
    if not set(asked) <= set(columns) or len(set(asked)) < len(asked):
        return f"{what} must name different columns of the joint table: " + ", ".join(columns)
    return ""


def _refused(what: str, *, got: str, expected: str) -> MalformedError:
    return MalformedError(what, got=got, expected=expected, do="correct the study")


def basis(gallery_size: int, pairs: int) -> Literal["extrapolated", "model-based"]:
    """Say what a rate rests on: up to a twentieth of the pooled pairs, the tail still has data."""
    return "extrapolated" if gallery_size * POOLED_SHARE <= pairs else "model-based"


def score_table(column: str) -> str:
    """Name of the table that holds one column's classes of u."""
    return f"{SCORE_TABLE}/{column}"


def beyond_table(column: str) -> str:
    """Name of the table that carries one column beyond the reference."""
    return f"{BEYOND_TABLE}/{column}"


def weights_of_scores(
    labels: Sequence[str], *, at_most: int, gallery_size: int | None = None
) -> tuple[int, ...]:
    """Weight of each cell, 0 or 1, in the share of people beaten by at most so many faces.

    With `gallery_size`: who are found among so many faces, too.
    """
    return tuple(
        int(
            label != NOT_ACQUIRED
            and int(_said(label)["beaten-by"].partition("-")[2]) <= at_most
            and (gallery_size is None or int(_said(label)["found"]) >= gallery_size)
        )
        for label in labels
    )


def weights_of_beyond(labels: Sequence[str], *, tail: str, gallery_size: int) -> tuple[int, ...]:
    """Weight of each cell, 0 or 1, in the share found at `gallery_size` by `gpd` or `normal`."""
    return tuple(
        int(label != NOT_ACQUIRED and int(_said(label)[tail]) >= gallery_size) for label in labels
    )


def _said(label: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in label.split(";"))
