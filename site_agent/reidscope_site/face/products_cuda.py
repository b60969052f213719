"""`products` on a graphics card: 8-bit tensor units with 32-bit whole-number sums, the same bits.

With Triton (it comes with PyTorch's CUDA wheels) one kernel multiplies, compares and counts, and no
score is ever written to memory. Without it PyTorch's own 8-bit product does, a chunk at a time.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from reidscope_protocols.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALIGNED = 16
_FEWEST_ROWS = 32  # cuBLAS takes no 8-bit product of 16 rows or fewer
_SCORES = 1 << 27
_FUSED_FROM = 64
"""People from which one kernel pays. A site compares one person at a time: there PyTorch's product
does, and no compiler is started where a person is evaluated."""
_BYTES_A_NUMBER = 144  # of the chip's fast memory, as Triton lays the kernel out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resident:
    """A public gallery that stays on the card.

    Attributes
    ----------
    faces : Tensor of int8
        (M, g, d), d filled up with noughts to a multiple of 16.
    dimension : int
        d as it was.
    """

    faces: torch.Tensor
    dimension: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(M, g, d)."""
        return len(self.faces), self.faces.shape[1], self.dimension


def upload(gallery: NDArray[np.int8]) -> Resident:
    """Bring a gallery, (M, d) or (M, g, d), to the card once for many comparisons.

    Raises
    ------
    UnsupportedError
        If PyTorch sees no card.
    """
    require()
    grouped = gallery if gallery.ndim > 2 else gallery[:, None]  # noqa: PLR2004  # (M, g, d)
    return Resident(faces=_padded(np.asarray(grouped)), dimension=gallery.shape[-1])


def require() -> None:
    """Raise UnsupportedError unless PyTorch sees a card."""
    if not torch.cuda.is_available():
        raise UnsupportedError(
            "the device cuda",
            got="a machine on which PyTorch sees none",
            expected="a CUDA device and a CUDA build of PyTorch",
            do="compare on the CPU: the figures are the same",
        )


def count(
    probes: NDArray[np.int8],
    own: NDArray[np.int64],
    gallery: NDArray[np.int8] | Resident,
    *,
    chunk: int | None = None,
    fused: bool | None = None,
) -> NDArray[np.int64]:
    """`products.count` on the card.

    Parameters
    ----------
    probes : ndarray of int8
        (n, r, d).
    own : ndarray of int64
        (n,).
    gallery : ndarray of int8 or Resident
        (M, g, d). An array is brought over a chunk at a time: that takes longer than the products.
    chunk : int, optional
        Reference faces at a time.
    fused : bool, optional
        Whether one kernel does it all; by itself where Triton is installed and the chip has room.

    Returns
    -------
    ndarray of int64
        (2, n): better, equal.

    Privacy
    -------
    A column is a function of that person's rows and the public gallery (docs/privacy.md, "Exact
    comparisons").
    """
    people, each, _ = probes.shape
    size, group, _ = gallery.shape
    scores_a_face = max(1, people * each * group)
    faces = chunk or max(1, min(size, _SCORES // scores_a_face))
    wide = _padded(probes)
    if fused is None:
        fused = people >= _FUSED_FROM and has_room(each * group * wide.shape[2])
    if fused and chunk is None and isinstance(gallery, Resident):
        faces = max(1, size)
    mine = torch.from_numpy(own.astype(np.int32)).cuda()
    counts = torch.zeros((2, people), dtype=torch.int64, device="cuda")
    for start in range(0, size, faces):
        block = _block(gallery, start, min(size, start + faces))
        if fused:
            # imported here: PyTorch's builds for the CPU bring no Triton
            from reidscope_site.face.products_fused import tally  # noqa: PLC0415  # a card

            tally(wide, mine, block, counts)
            continue
        best = _best(wide, block)
        counts[0] += (best > mine[:, None]).sum(1)
        counts[1] += (best == mine[:, None]).sum(1)
    return counts.cpu().numpy()


def has_room(numbers: int) -> bool:
    """Whether there is Triton, and room on the chip for the one kernel.

    Parameters
    ----------
    numbers : int
        r g d: of all pairs of vectors of a person and a face, d a multiple of 16.
    """
    card = torch.cuda.get_device_properties(0)
    # what a kernel may ask for beyond the default; the type stubs do not know it
    room: int = getattr(card, "shared_memory_per_block_optin", card.shared_memory_per_block)
    return numbers * _BYTES_A_NUMBER <= room and importlib.util.find_spec("triton") is not None


def _block(gallery: NDArray[np.int8] | Resident, start: int, stop: int) -> torch.Tensor:
    if isinstance(gallery, Resident):
        return gallery.faces[start:stop]
    return _padded(np.ascontiguousarray(gallery[start:stop]))


def _padded(rows: NDArray[np.int8]) -> torch.Tensor:
    """Bring rows, (..., d), to the card, d filled up with noughts: they add nothing."""
    tensor = torch.from_numpy(np.ascontiguousarray(rows)).cuda()
    missing = -rows.shape[-1] % _ALIGNED
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def _best(probes: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """Largest inner product of each person and face, (n, faces) of int32."""
    people, each, dimension = probes.shape
    faces, group, _ = block.shape
    # a person's or a face's further vectors come after everybody's first
    left = probes.transpose(0, 1).reshape(-1, dimension)
    right = block.transpose(0, 1).reshape(-1, dimension)
    tall = torch.nn.functional.pad(left, (0, 0, 0, max(0, _FEWEST_ROWS - len(left))))
    wide = torch.nn.functional.pad(right, (0, 0, 0, -len(right) % _ALIGNED))
    scores = torch._int_mm(tall, wide.T)  # noqa: SLF001  # PyTorch's one 8-bit product
    if each == group == 1:
        return scores[:people, :faces]
    pairs = scores[: each * people, : group * faces].reshape(each, people, group, faces)
    return pairs.amax((0, 2))
