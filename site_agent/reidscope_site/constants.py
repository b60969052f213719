"""Public constants of studies: files named by their sha256, refused if they have another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import ConstantMismatchError, NotReadyError
from reidscope_protocols.study import Constant, Study
from reidscope_protocols.vocabulary import ConstantRole

Installed = Callable[[str], bytes | None]


class Constants:
    """The constants folder of one site.

    Parameters
    ----------
    folder : Path
        Holds one file a constant, named by its sha256.
    installed : mapping of role to callable
        Constants that the installation brings along; used where their sha256 is the study's.
    """

    def __init__(self, folder: Path, installed: Mapping[ConstantRole, Installed]) -> None:
        self._folder = folder
        self._installed = installed

    def keep(self, content: bytes, constant: Constant) -> None:
        """Keep a file that came from outside, if it is the constant.

        Raises
        ------
        ConstantMismatchError
            Its sha256 is not the study's; nothing is kept.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != constant.sha256:
            raise ConstantMismatchError(
                f"constant {constant.role}",
                got=f"sha256 {sha256[:16]}..., {len(content)} bytes",
                expected=f"sha256 {constant.sha256[:16]}...",
                do="ask the coordinator for the file that the study names",
            )
        write_durably(self._folder / sha256, content)

    def has(self, constant: Constant) -> bool:
        """Whether the constant can be read without asking anybody."""
        return (self._folder / constant.sha256).exists() or self._from_install(constant) is not None

    def read(self, constant: Constant) -> bytes:
        """Return the constant's bytes, checked against its sha256 on every read.

        Raises
        ------
        NotReadyError
            The file has not arrived.
        ConstantMismatchError
            The file changed on this disk.
        """
        path = self._folder / constant.sha256
        if not path.exists():
            content = self._from_install(constant)
            if content is not None:
                return content
            raise NotReadyError(
                f"constant {constant.role}",
                got="no file",
                expected=f"sha256 {constant.sha256[:16]}...",
                do="let `serve` fetch it, or `import` it as a file",
            )
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != constant.sha256:
            raise ConstantMismatchError(
                f"constant {constant.role}",
                got="a file that changed on this disk",
                expected=f"sha256 {constant.sha256[:16]}...",
                do="delete it from the constants folder and fetch it again",
            )
        return content

    def missing(self, study: Study) -> tuple[Constant, ...]:
        """Return the study's constants that are not here yet."""
        return tuple(constant for constant in study.constants if not self.has(constant))

    def _from_install(self, constant: Constant) -> bytes | None:
        reader = self._installed.get(constant.role)
        content = reader(constant.sha256) if reader else None
        if content is None or hashlib.sha256(content).hexdigest() != constant.sha256:
            return None
        return content
