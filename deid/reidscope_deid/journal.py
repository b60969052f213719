"""What a run has done so far, so that the next one goes on where it was stopped.

A file in the output folder while a run is under way; gone when the run has ended. It names sources
by keyed digests alone and holds what the record needs: places, reasons, counts.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reidscope_deid.reasons import Reason
from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from typing import TextIO

    from reidscope_deid.keys import SiteKey

NAME = ".reidscope-deid.journal"
_PURPOSE = b"reidscope/deid/journal/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file: where its output belongs, or why there is none.

    Attributes
    ----------
    place : str
        Relative to the output folder; empty if nothing was written.
    reason : Reason or None
        Why not.
    tally : Counter
        What was done with its elements.
    review : bool
        Whether a person should look at the output.
    identity : str
        Whose it is: never in the journal.
    """

    place: str
    reason: Reason | None
    tally: Counter[tuple[int | str, str]]
    review: bool = False
    identity: str = field(default="", repr=False)


@dataclass(slots=True, repr=False)
class Journal:
    """Outcomes by source, kept on disk as they come."""

    path: Path
    digest_key: bytes
    done: dict[str, Outcome]
    _stream: TextIO

    @classmethod
    def open(cls, out: Path, key: SiteKey, run: str) -> Self:
        """Start a journal in `out`, or go on with the one that stands there.

        Parameters
        ----------
        out : Path
            The output folder.
        key : SiteKey
            Digests sources and the run's settings.
        run : str
            Everything that the outputs depend on, in words.

        Raises
        ------
        ConfigError
            The journal is of a run under another key or other settings.
        """
        path, digest_key = out / NAME, key.branch(_PURPOSE)
        head = _digest(digest_key, run)
        done: dict[str, Outcome] = {}
        lines = path.read_text("ascii").split("\n") if path.exists() else []
        if lines and lines[0] != head:
            raise ConfigError(
                "the output folder",
                got="a stopped run under another key, profile or defacer",
                expected="the same ones",
                do="name them, or another folder",
            )
        for line in lines[1:-1]:  # what follows the last newline was cut short
            try:
                source, outcome = _read(line)
            except ValueError:
                break  # a disk lost the end: those files are done again
            done[source] = outcome
        for torn in out.glob(f".{NAME}.*"):
            torn.unlink()  # a kill between writing and renaming
        whole = [head, *(_line(source, outcome) for source, outcome in done.items())]
        write_durably(path, "".join(f"{line}\n" for line in whole).encode("ascii"))
        path.chmod(0o600)
        return cls(path, digest_key, done, path.open("a", encoding="ascii"))

    def source_of(self, path: str) -> str:
        """Digest of a source: another name, size or time of change is another source."""
        found = Path(path).stat()
        return _digest(self.digest_key, f"{path}\0{found.st_size}\0{found.st_mtime_ns}")

    def add(self, source: str, outcome: Outcome) -> None:
        """Keep what became of a file, once its output stands in its place."""
        self.done[source] = outcome
        self._stream.write(_line(source, outcome) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Keep it for the next run."""
        self._stream.close()

    def finish(self) -> None:
        """Remove it: everything is done."""
        self._stream.close()
        self.path.unlink(missing_ok=True)


def _digest(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256").hex()


def _line(source: str, outcome: Outcome) -> str:
    tally = [[*what, count] for what, count in sorted(outcome.tally.items(), key=repr)]
    reason = None if outcome.reason is None else outcome.reason.value
    return json.dumps([source, outcome.place, reason, outcome.review, tally])


def _read(line: str) -> tuple[str, Outcome]:
    source, place, reason, review, tally = json.loads(line)
    counts = Counter({(what, action): count for what, action, count in tally})
    return source, Outcome(
        place=place,
        reason=None if reason is None else Reason(reason),
        tally=counts,
        review=review,
    )


def is_journal(name: str) -> bool:
    """Whether a file of the output folder is a journal, or one that a kill left half written."""
    return name == NAME or name.startswith(f".{NAME}.")
