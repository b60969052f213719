"""Every byte that left, kept at the site: one file a content, one line a sending.

HOME/sent/TIME-KIND-SHA.bin     the bytes, when they first left
HOME/sent/DAY.jsonl             what left when: time, kind, size, file
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reidscope_protocols.durable import write_durably

_OWNER_ONLY = 0o600
_SHOWN = 16  # digits of a digest


class Sent:
    """The folder `sent` of one home; use one instance a thread.

    Parameters
    ----------
    folder : Path
        Made when something is kept.
    days : int
        How long it is kept.
    """

    def __init__(self, folder: Path, *, days: int) -> None:
        self._folder = folder
        self._days = days
        self._known: dict[tuple[str, str], str] | None = None
        self._today = ""

    def keep(self, kind: str, content: bytes) -> None:
        """Keep what is about to leave; whoever cannot keep it must not send it.

        Parameters
        ----------
        kind : str
            A constant word, such as `decision`.

        Raises
        ------
        OSError
            The disk is full or fails.
        """
        now = datetime.now(UTC)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._today != f"{now:%Y-%m-%d}":
            self._today = f"{now:%Y-%m-%d}"
            self._forget(now)
        if self._known is None:
            self._known = dict(self._names())
        digest = hashlib.sha256(content).hexdigest()[:_SHOWN]
        name = self._known.get((kind, digest))
        if name is None:
            name = f"{now:%Y%m%dT%H%M%S.%fZ}-{kind}-{digest}.bin"
            write_durably(self._folder / name, content)
            self._known[kind, digest] = name
        line = {"at": now.isoformat(), "kind": kind, "bytes": len(content), "file": name}
        handle = os.open(
            self._folder / f"{self._today}.jsonl",
            os.O_WRONLY | os.O_APPEND | os.O_CREAT,
            _OWNER_ONLY,
        )
        try:
            os.write(handle, json.dumps(line).encode() + b"\n")
        finally:
            os.close(handle)

    def _names(self) -> Iterator[tuple[tuple[str, str], str]]:
        for path in self._folder.glob("*.bin"):
            kind, digest = path.stem.partition("-")[2].rsplit("-", 1)
            yield (kind, digest), path.name

    def _forget(self, now: datetime) -> None:
        """Remove what is older than the site keeps; a file that is sent again begins anew."""
        oldest = now - timedelta(days=self._days)
        for pattern, day in (("*.bin", f"{oldest:%Y%m%d}"), ("*.jsonl", f"{oldest:%Y-%m-%d}")):
            for path in self._folder.glob(pattern):
                if path.name[: len(day)] < day:
                    with suppress(FileNotFoundError):
                        path.unlink()
        self._known = None
