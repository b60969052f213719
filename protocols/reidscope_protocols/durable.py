"""Files that are there whole or not at all: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_OWNER_ONLY = 0o600


def write_durably(path: Path, content: bytes, *, mode: int = _OWNER_ONLY) -> None:
    """Replace `path` by `content`: a reader sees the old file or the new one, nothing between.

    Parameters
    ----------
    path : Path
        Where the file will stand; its folder must exist.
    content : bytes
        All of it.
    mode : int
        Permission bits, owner-only unless the file is meant to be public.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        # Broad on purpose: whatever stopped the write (Ctrl-C too), the temporary file goes
        # and the error goes on.
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
