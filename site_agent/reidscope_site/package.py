"""Which software this is: an approval binds the hash of every installed file of reidscope."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("reidscope_deid", "reidscope_protocols", "reidscope_site")
_RELEASED_WITH = ("flwr", "numpy", "onnxruntime", "opencv-python-headless", "opendp", "torch")


def version() -> str:
    """Return the installed version of reidscope."""
    return metadata.version("reidscope")


@cache
def sha256() -> str:
    """Return one digest over the name and bytes of every file that a site runs."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        spec = find_spec(package)
        # Safety: this module belongs to one of the three packages, which are installed together.
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = f"{package}/{path.relative_to(root).as_posix()}"
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def sha256_with(programs: Mapping[str, str]) -> str:
    """Return the digest of everything that a study is computed with.

    Parameters
    ----------
    programs : mapping
        Programs of others that the study's arms call (`face.external.program.programs_of`);
        without any it is `sha256()`.
    """
    if not programs:
        return sha256()
    said = json.dumps([sha256(), sorted(programs.items())])
    return hashlib.sha256(said.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions that a Release names: reidscope's and those of what computed the cells."""
    named = {name: metadata.version(name) for name in _RELEASED_WITH}
    return {"reidscope": version(), "reidscope-sha256": sha256(), **named}
