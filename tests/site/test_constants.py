"""Public files: named by their sha256, and refused if they have another."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reidscope_protocols.errors import ConstantMismatchError, NotReadyError
from reidscope_protocols.study import Constant
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site.constants import Constants

CONTENT = b"the public gallery"
ROLE = ConstantRole.REFERENCE_GALLERY


def constant(content: bytes = CONTENT) -> Constant:
    sha256 = hashlib.sha256(content).hexdigest()
    return Constant(role=ROLE, sha256=sha256, size_bytes=len(content))


@pytest.fixture
def constants(tmp_path: Path) -> Constants:
    return Constants(tmp_path, {})


def test_what_was_kept_is_read_back(constants: Constants) -> None:
    assert not constants.has(constant())
    constants.keep(CONTENT, constant())
    assert constants.has(constant())
    assert constants.read(constant()) == CONTENT


def test_another_sha256_is_refused_and_nothing_is_kept(
    constants: Constants, tmp_path: Path
) -> None:
    with pytest.raises(ConstantMismatchError):
        constants.keep(CONTENT + b"!", constant())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotReadyError):
        constants.read(constant())


def test_a_file_that_changed_on_this_disk_is_refused_at_every_read(
    constants: Constants, tmp_path: Path
) -> None:
    constants.keep(CONTENT, constant())
    (tmp_path / constant().sha256).write_bytes(CONTENT + b"!")
    with pytest.raises(ConstantMismatchError, match="changed on this disk"):
        constants.read(constant())


def test_an_installed_file_serves_where_its_sha256_is_the_studys(tmp_path: Path) -> None:
    constants = Constants(tmp_path, {ROLE: lambda _: CONTENT})
    assert constants.has(constant())
    assert constants.read(constant()) == CONTENT
    assert not constants.has(constant(b"another version"))
    with pytest.raises(NotReadyError):
        constants.read(constant(b"another version"))
