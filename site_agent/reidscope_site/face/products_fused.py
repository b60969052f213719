"""One kernel that multiplies, compares and counts: scores never leave the chip.

Sums are 32-bit whole numbers in the tensor units; counts are added atomically, and whole numbers
may be added in any order. Imported where Triton is installed, by `products_cuda` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # CUDA's wheels bring it
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]  # same


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the kernel cuts its work; changes no bit.

    Attributes
    ----------
    people, faces, depth : int
        Of a tile, powers of two; depth in numbers a vector.
    tiles : int
        Of faces, one after another in one program, at most 32,767: two counts share a word.
    warps, stages : int
        Of a program; tiles fetched ahead.
    """

    people: int
    faces: int = 64
    depth: int
    tiles: int = 64
    warps: int = 4
    stages: int


SHORT = Shape(people=128, depth=64, stages=3)
LONG = Shape(people=64, depth=128, stages=2)
WIDE = Shape(people=64, depth=128, stages=1)
"""For vectors of up to 128 numbers, for longer ones, and for several a person or a face."""

_SHORT = 128

_LEVEL = tl.constexpr(1 << 16)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]  # Triton ships no types
def _kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917  # Triton reads annotations
    probes,  # noqa: ANN001
    own,  # noqa: ANN001
    gallery,  # noqa: ANN001
    counts,  # noqa: ANN001
    people,  # noqa: ANN001
    faces,  # noqa: ANN001
    dimension: tl.constexpr,
    each: tl.constexpr,
    group: tl.constexpr,
    tile_people: tl.constexpr,
    tile_faces: tl.constexpr,
    tile_depth: tl.constexpr,
    tiles: tl.constexpr,
):
    rows = tl.program_id(0) * tile_people + tl.arange(0, tile_people)
    depth = tl.arange(0, tile_depth)
    here = rows < people
    mine = tl.load(own + rows, mask=here, other=0)
    # faces above in the lower half of a word, faces level with the mate in the upper
    tally = tl.zeros((tile_people, tile_faces), dtype=tl.int32)
    first = tl.program_id(1).to(tl.int64) * tiles * tile_faces
    for tile in range(tiles):
        columns = first + tile * tile_faces + tl.arange(0, tile_faces)
        there = columns < faces
        best = tl.zeros((tile_people, tile_faces), dtype=tl.int32)
        for pair in tl.static_range(each * group):
            mine_at = (rows * each + pair // group) * dimension
            face_at = (columns * group + pair % group) * dimension
            scores = tl.zeros((tile_people, tile_faces), dtype=tl.int32)
            for start in tl.static_range(0, dimension, tile_depth):
                inside = start + depth < dimension
                left = tl.load(
                    probes + mine_at[:, None] + start + depth[None, :],
                    mask=here[:, None] & inside[None, :],
                    other=0,
                )
                right = tl.load(
                    gallery + face_at[None, :] + start + depth[:, None],
                    mask=there[None, :] & inside[:, None],
                    other=0,
                )
                scores = tl.dot(left, right, scores, out_dtype=tl.int32)
            best = scores if pair == 0 else tl.maximum(best, scores)
        tally += tl.where(best > mine[:, None], 1, tl.where(best == mine[:, None], _LEVEL, 0))
    # faces beyond the last one were noughts, and scored nought
    beyond = tl.minimum(tl.maximum(first + tiles * tile_faces - faces, 0), tiles * tile_faces)
    above = tl.sum(tally & 0xFFFF, 1).to(tl.int64) - tl.where(mine < 0, beyond, 0)
    level = tl.sum(tally >> 16, 1).to(tl.int64) - tl.where(mine == 0, beyond, 0)
    tl.atomic_add(counts + rows, above, mask=here)
    tl.atomic_add(counts + people + rows, level, mask=here)


def tally(
    probes: torch.Tensor,
    own: torch.Tensor,
    gallery: torch.Tensor,
    counts: torch.Tensor,
    *,
    shape: Shape | None = None,
) -> None:
    """Add to `counts`, (2, n) of int64, the faces of one block above and level with each mate.

    Parameters
    ----------
    probes, gallery : Tensor of int8
        (n, r, d) and (M, g, d) on the card, d a multiple of 16; the best of r g products counts.
    own : Tensor of int32
        (n,), scores of the mates.
    shape : Shape, optional
        By itself what was fastest on the cards that were tried.

    Privacy
    -------
    A number is a function of that person's row and the public gallery (docs/privacy.md, "Exact
    comparisons").
    """
    people, each, dimension = probes.shape
    group = gallery.shape[1]
    cut = shape or (WIDE if each * group > 1 else SHORT if dimension <= _SHORT else LONG)
    grid = (triton.cdiv(people, cut.people), triton.cdiv(len(gallery), cut.tiles * cut.faces))
    _kernel[grid](
        probes.contiguous(),
        own,
        gallery.contiguous(),
        counts,
        people,
        len(gallery),
        dimension,
        each,
        group,
        cut.people,
        cut.faces,
        cut.depth,
        cut.tiles,
        num_warps=cut.warps,
        num_stages=cut.stages,
    )
