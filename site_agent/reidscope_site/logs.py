"""The agent's log: JSON lines of event names and numbers, into which no text can come.

HOME/log/agent.jsonl and four older ones; on standard output too where a journal collects it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path

from reidscope_protocols.errors import InvariantError

_FILE_BYTES = 4 << 20
_OLDER_FILES = 4
_OWNER_ONLY = 0o600


class LogEvent(StrEnum):
    """All that is ever logged."""

    STARTED = "agent-started"
    STOPPED = "agent-stopped"
    HELD = "agent-held"
    CONNECTED = "line-connected"
    CUT = "line-cut"
    REFUSED = "refused"
    WAITING = "waiting"
    MEASURING = "measuring"
    RELEASED = "released"
    ANSWERED = "answered"


class Log:
    """The log of one running agent.

    Parameters
    ----------
    folder : Path
        Made if absent, its owner's alone.
    echo : bool
        Whether each line goes to standard output as well.
    """

    def __init__(self, folder: Path, *, echo: bool = False) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        handlers: list[logging.Handler] = [_OwnersFile(folder / "agent.jsonl")]
        if echo:
            handlers.append(logging.StreamHandler(sys.stdout))
        self._logger = logging.Logger("reidscope.agent", logging.INFO)  # noqa: LOG001  # not shared: nobody else's handlers or lines come in
        for handler in handlers:
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._logger.addHandler(handler)

    def write(self, event: LogEvent, **numbers: float) -> None:
        """Add a line.

        Parameters
        ----------
        event : LogEvent
            What happened.
        numbers : int, float or bool
            About the agent, never about a person.

        Raises
        ------
        InvariantError
            Something else than an event and numbers: it could hold what must not be logged.
        """
        if not isinstance(event, LogEvent) or not all(
            type(number) in (int, float, bool) for number in numbers.values()
        ):
            raise InvariantError(
                "log", got="text", expected="an event and numbers alone", do="report this"
            )
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._logger.info(json.dumps({"at": at, "event": event, **numbers}))

    def close(self) -> None:
        """Close the file."""
        for handler in self._logger.handlers:
            handler.close()


class _OwnersFile(RotatingFileHandler):
    """A rotating file that its owner alone can read, from its first byte on."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=_FILE_BYTES, backupCount=_OLDER_FILES, encoding="utf-8", delay=True
        )

    def _open(self) -> io.TextIOWrapper:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _OWNER_ONLY)
        return os.fdopen(handle, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
        """Say nothing: a full disk must not end the agent, and a trace would quote its code."""
