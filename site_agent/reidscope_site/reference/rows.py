"""Embeddings of public people on disk, one row a seed: a build that stopped goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reidscope_protocols.errors import InvariantError


class RowFile:
    """A file of float32 rows; a row of not-a-numbers is somebody without a face.

    Public people only: the embeddings of patients are never written (`Embedding` has no
    serialiser).

    Parameters
    ----------
    path : Path
        Row i belongs to seed number i; half a row at the end, from a build that was killed, is cut
        off.
    width : int
        Numbers in a row.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path = path
        self.width = width
        self._row_bytes = 4 * width
        path.touch()
        with path.open("r+b") as stream:
            stream.truncate(len(self) * self._row_bytes)

    def __len__(self) -> int:
        return self.path.stat().st_size // self._row_bytes

    def append(self, row: NDArray[np.float32]) -> None:
        """Add the next seed's row, (width,)."""
        if row.shape != (self.width,):
            raise InvariantError(
                "a row", got=f"{row.shape}", expected=f"({self.width},)", do="report it"
            )
        with self.path.open("ab") as stream:
            stream.write(row.astype("<f4").tobytes())

    def read(self) -> NDArray[np.float32]:
        """All rows, (n, width)."""
        return np.fromfile(self.path, dtype="<f4").reshape(-1, self.width).astype(np.float32)
