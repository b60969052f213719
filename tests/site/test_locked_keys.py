"""Keys at rest: under a passphrase on the disk, in memory while the agent runs."""

from __future__ import annotations

import json
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from reidscope_protocols.errors import ConfigError
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.doctor import examine
from reidscope_site.locked_keys import lock, unlock
from reidscope_site.store import file_system_of

PASSPHRASE = "five words out of hats"
pytestmark = pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or file_system_of(Path("/dev/shm")) != "tmpfs",  # noqa: S108  # memory is the point
    reason="no file system in memory here",
)


@pytest.fixture
def memory() -> Iterator[Path]:
    folder = Path("/dev/shm", f"reidscope-test-{secrets.token_hex(4)}")  # noqa: S108  # memory is the point
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def keys_of(home: Home) -> tuple[bytes, str]:
    agent = Agent(home)
    try:
        return agent.site_key.branch(b"test"), agent.statement_key.public
    finally:
        agent.close()


def apart(home: Home) -> bool:
    return "keys apart from the data" in [
        one.what for one in examine(home, offline=True) if one.fine
    ]


@pytest.mark.slow
def test_locked_keys_are_off_the_disk_and_unlocked_ones_are_the_same_in_memory(
    home: Home, tmp_path: Path, memory: Path
) -> None:
    before, file = keys_of(home), tmp_path / "sealed"
    secret = home.key("site.key").read_text().splitlines()[1]
    assert not apart(home)
    lock(home, file, PASSPHRASE)
    assert not home.keys.exists()
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(ConfigError):
        keys_of(home)
    unlock(home, file, PASSPHRASE, memory)
    assert keys_of(home) == before
    assert apart(home)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in memory.iterdir())
    shutil.rmtree(memory)  # the machine restarts
    with pytest.raises(ConfigError):
        keys_of(home)
    unlock(home, file, PASSPHRASE, memory)
    home.key("transport.crt").write_text("a certificate that came since")
    lock(home, file, PASSPHRASE)
    shutil.rmtree(memory)
    unlock(home, file, PASSPHRASE, memory)
    assert home.key("transport.crt").read_text() == "a certificate that came since"


@pytest.mark.slow
def test_another_passphrase_or_an_altered_file_opens_nothing(
    home: Home, tmp_path: Path, memory: Path
) -> None:
    file = tmp_path / "sealed"
    lock(home, file, PASSPHRASE)
    whole = file.read_bytes()
    said = json.loads(whole)
    wrong = [
        b"", b"{}", whole[:-9], json.dumps({**said, "sealed": said["salt"]}).encode(),
        json.dumps({**said, "nonce": "AAAA"}).encode(), json.dumps({**said, "more": 1}).encode(),
    ]  # fmt: skip
    for content in wrong:
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="does not open"):
            unlock(home, file, PASSPHRASE, memory)
    file.write_bytes(whole)
    with pytest.raises(ConfigError, match="does not open"):
        unlock(home, file, PASSPHRASE + "!", memory)
    assert list(memory.iterdir()) == []
    assert not home.keys.is_symlink()
    unlock(home, file, PASSPHRASE, memory)


@pytest.mark.slow
def test_what_would_lose_or_bare_the_keys_is_refused(
    home: Home, tmp_path: Path, memory: Path
) -> None:
    before, file = keys_of(home), tmp_path / "sealed"
    with pytest.raises(ConfigError, match="passphrase: got 5 characters"):
        lock(home, file, "short")
    assert keys_of(home) == before
    shutil.copytree(home.keys, tmp_path / "copy")
    lock(home, file, PASSPHRASE)
    with pytest.raises(ConfigError, match="none to be sealed"):
        lock(home, file, PASSPHRASE)
    if file_system_of(tmp_path) not in {"tmpfs", "ramfs"}:
        with pytest.raises(ConfigError, match="on a disk"):
            unlock(home, file, PASSPHRASE, tmp_path / "disk")
    memory.mkdir(mode=0o755)
    memory.chmod(0o755)
    with pytest.raises(ConfigError, match="open to others"):
        unlock(home, file, PASSPHRASE, memory)
    memory.chmod(0o700)
    shutil.copytree(tmp_path / "copy", home.keys)
    with pytest.raises(ConfigError, match="has its keys"):
        unlock(home, file, PASSPHRASE, memory)
