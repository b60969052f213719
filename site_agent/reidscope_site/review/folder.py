"""The folder of a contact sheet: its owner's alone, and easily deleted.

FOLDER/.reidscope-review   says that the folder is ours to write to and to wipe
FOLDER/people/*.json       one sheet a person
FOLDER/index.html          the first page; page-2.html and so on
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConfigError

_MARKER = ".reidscope-review"
_OTHERS = 0o077
_NOTE = b"Faces of people: never leaves the site. Delete with: reidscope-site review --wipe\n"


@dataclass(frozen=True, slots=True)
class ReviewFolder:
    """A folder that `prepared` or `existing` has looked at."""

    root: Path

    @classmethod
    def prepared(cls, root: Path) -> ReviewFolder:
        """Make the folder, or take one that was made before.

        Raises
        ------
        ConfigError
            Somebody else's, readable by others, a link, or full of other things.
        """
        if not root.is_symlink() and not root.exists():
            root.mkdir(mode=0o700)
        _require_private(root)
        folder = cls(root)
        if not folder.marker.is_file():
            if next(root.iterdir(), None) is not None:
                raise _refused("a folder with other things in it")
            write_durably(folder.marker, _NOTE)
        folder.people.mkdir(mode=0o700, exist_ok=True)
        _require_private(folder.people)
        return folder

    @classmethod
    def existing(cls, root: Path) -> ReviewFolder:
        """Take a folder that `prepared` made, else raise ConfigError."""
        folder = cls(root)
        if root.is_symlink() or not folder.marker.is_file():
            raise ConfigError(
                "the folder of the contact sheet",
                got="one that `reidscope-site review` did not make",
                expected="one that it made: nothing else is deleted",
                do="name the folder that was given with --out",
            )
        return folder

    @property
    def marker(self) -> Path:
        """Says that the folder is ours."""
        return self.root / _MARKER

    @property
    def people(self) -> Path:
        """One sheet a person."""
        return self.root / "people"

    def sheet(self, name: str) -> Path:
        """File of one person's sheet."""
        return self.people / f"{name}.json"

    def page(self, number: int) -> Path:
        """File of a page, from 1."""
        return self.root / ("index.html" if number == 1 else f"page-{number}.html")

    def keep_pages(self, count: int) -> None:
        """Delete pages behind the last."""
        kept = {self.page(number) for number in range(1, count + 1)}
        for path in self.root.glob("page-*.html"):
            if path not in kept:
                path.unlink()

    def keep_people(self, names: frozenset[str]) -> None:
        """Delete sheets of people who are not there any more."""
        for path in self.people.glob("*.json"):
            if path.stem not in names:
                path.unlink()

    def wipe(self) -> int:
        """Delete all that `review` wrote; return how many other files stay.

        Privacy
        -------
        Files are deleted, not overwritten: on a disk that is not encrypted they could be restored
        (docs/privacy.md, "What stays at the site").
        """
        if self.people.is_dir() and not self.people.is_symlink():
            for path in self.people.iterdir():
                if path.suffix == ".json" or path.name.startswith("."):
                    path.unlink()
            if next(self.people.iterdir(), None) is None:
                self.people.rmdir()
        for pattern in ("index.html", "page-*.html", ".index.html.*", ".page-*.html.*"):
            for path in self.root.glob(pattern):
                path.unlink()
        others = sum(path != self.marker for path in self.root.iterdir())
        # The marker goes last: a wipe that was cut off can be given again.
        if not others:
            self.marker.unlink()
            self.root.rmdir()
        return others


def _require_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _refused("a file or a link")
    if found.st_uid != os.geteuid():
        raise _refused("a folder of somebody else")
    if found.st_mode & _OTHERS:
        raise _refused("a folder that other users can read")


def _refused(got: str) -> ConfigError:
    return ConfigError(
        "the folder of the contact sheet",
        got=got,
        expected="a new folder, or one of the same command, readable by its owner alone (0700)",
        do="name a new folder",
    )
