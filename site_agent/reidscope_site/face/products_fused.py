"""One kernel that multiplies, compares and counts: scores never leave the chip.

Sums are 32-bit whole numbers in the tensor units; counts are added atomically, and whole numbers
may be added in any order. Imported where Triton is installed, by `products_cuda` alone.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # CUDA's wheels bring it
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]  # same

_PEOPLE = 128
_FACES = 64
_DEPTH = 128
_TILES = 64  # of faces, one after another, before counts are written
_WARPS = 4
_STAGES = 4
_PIPELINED = 512
"""Numbers a face up to which tiles are fetched ahead: beyond, they would not fit the chip."""


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]  # Triton ships no types
def _kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917  # Triton reads annotations
    probes,  # noqa: ANN001
    own,  # noqa: ANN001
    gallery,  # noqa: ANN001
    better,  # noqa: ANN001
    equal,  # noqa: ANN001
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
    above = tl.zeros((tile_people,), dtype=tl.int32)
    level = tl.zeros((tile_people,), dtype=tl.int32)
    first = tl.program_id(1).to(tl.int64) * tiles * tile_faces
    for tile in range(tiles):
        columns = first + tile * tile_faces + tl.arange(0, tile_faces)
        there = columns < faces
        best = tl.full((tile_people, tile_faces), -(1 << 30), dtype=tl.int32)
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
            best = tl.maximum(best, scores)
        above += tl.sum(((best > mine[:, None]) & there[None, :]).to(tl.int32), 1)
        level += tl.sum(((best == mine[:, None]) & there[None, :]).to(tl.int32), 1)
    tl.atomic_add(better + rows, above.to(tl.int64), mask=here)
    tl.atomic_add(equal + rows, level.to(tl.int64), mask=here)


def tally(
    probes: torch.Tensor,
    own: torch.Tensor,
    gallery: torch.Tensor,
    better: torch.Tensor,
    equal: torch.Tensor,
) -> None:
    """Add to `better` and `equal`, (n,) of int64, what one block of faces holds.

    Parameters
    ----------
    probes, gallery : Tensor of int8
        (n, r, d) and (M, g, d) on the card, d a multiple of 16; the best of r g products counts.
    own : Tensor of int32
        (n,), scores of the mates.

    Privacy
    -------
    A number is a function of that person's row and the public gallery (docs/privacy.md, "Exact
    comparisons").
    """
    people, each, dimension = probes.shape
    group = gallery.shape[1]
    grid = (triton.cdiv(people, _PEOPLE), triton.cdiv(len(gallery), _TILES * _FACES))
    _kernel[grid](
        probes.contiguous(),
        own,
        gallery.contiguous(),
        better,
        equal,
        people,
        len(gallery),
        dimension,
        each,
        group,
        _PEOPLE,
        _FACES,
        _DEPTH,
        _TILES,
        num_warps=_WARPS,
        num_stages=_STAGES if each * group * dimension <= _PIPELINED else 1,
    )
