"""Where keys may come from for studies of people: memory, another volume, a unit's credentials."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reidscope_protocols.errors import ConfigError, PolicyRefusalError
from reidscope_protocols.key_source import passphrase_from
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site import cli
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.key_source import (
    PRIVATE,
    KeySource,
    check_apart,
    source_of,
    use_folder,
)
from reidscope_site.ledger import Ledger
from reidscope_site.locked_keys import check_opens, lock, unlock
from reidscope_site.store import file_system_of

MEMORY = Path("/dev/shm")  # noqa: S108  # memory is the point
PASSPHRASE = "five words out of hats"
ROLE = "data protection officer"
needs_memory = pytest.mark.skipif(
    not MEMORY.is_dir() or file_system_of(MEMORY) != "tmpfs",
    reason="no file system in memory here",
)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another volume than the home, as a mounted secret is."""
    folder = MEMORY / f"reidscope-test-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def mounted(home: Home, folder: Path, mode: int = 0o400) -> Path:
    for name in PRIVATE:
        shutil.copy(home.key(name), folder / name)
        (folder / name).chmod(mode)
    return folder


@pytest.fixture
def a_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger with a witness, which studies of people need as well."""
    monkeypatch.setattr(Ledger, "is_witnessed", True)


def reads(home: Home) -> tuple[bytes, str]:
    agent = Agent(home)
    try:
        return agent.site_key.branch(b"test"), agent.statement_key.public
    finally:
        agent.close()


def test_keys_beside_the_data_are_for_synthetic_people_alone(
    agent: Agent, coordinator: Any, make_study: Callable[..., Study], people: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert source_of(agent.home) is KeySource.BESIDE
    agent.snapshot.freeze(people, agent.site_key)
    invented = agent.studies.receive(coordinator.sign(make_study()))
    agent.check_policy(invented)
    patients = agent.studies.receive(
        coordinator.sign(make_study(study_id="patients", population="patients"))
    )
    monkeypatch.setattr(type(agent.ledger), "is_witnessed", True)
    with pytest.raises(PolicyRefusalError, match="keys: got key files, not encrypted") as caught:
        agent.decide(patients.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
    assert "keys lock" in str(caught.value)
    assert str(agent.home.root) not in str(caught.value)


@needs_memory
@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_mounted_secret_is_used_and_the_copies_in_the_home_are_removed(
    agent: Agent, elsewhere: Path, mode: int
) -> None:
    before = reads(agent.home)
    agent.home.key("transport.crt").write_text("a certificate")
    secret = agent.home.key("site.key").read_bytes()
    use_folder(agent.home, mounted(agent.home, elsewhere, mode))
    assert reads(agent.home) == before
    assert agent.home.certificate.read_text() == "a certificate"
    assert source_of(agent.home) is KeySource.MEMORY
    check_apart(agent.home)
    held = [path.read_bytes() for path in agent.home.root.rglob("*")
            if path.is_file() and elsewhere not in path.resolve().parents]  # fmt: skip
    assert not any(secret in content for content in held)


@needs_memory
@pytest.mark.usefixtures("a_witness")
def test_studies_of_people_are_approved_once_the_keys_are_apart(
    agent: Agent, elsewhere: Path, coordinator: Any, make_study: Callable[..., Study],
    people: Any,
) -> None:  # fmt: skip
    use_folder(agent.home, mounted(agent.home, elsewhere))
    agent.snapshot.freeze(people, agent.site_key)
    study = agent.studies.receive(coordinator.sign(make_study(population="patients")))
    assert agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)


@needs_memory
def test_a_folder_that_cannot_be_the_keys_is_refused_and_the_home_keeps_its_own(
    home: Home, elsewhere: Path, tmp_path: Path, make_home: Callable[..., Home]
) -> None:
    before = reads(home)
    with pytest.raises(ConfigError, match="got no file"):
        use_folder(home, elsewhere)
    mounted(home, elsewhere, 0o644)
    with pytest.raises(ConfigError, match="group or others may read"):
        use_folder(home, elsewhere)
    for name in PRIVATE:
        (elsewhere / name).chmod(0o600)
    mounted(make_home("another"), elsewhere)
    with pytest.raises(ConfigError, match="other keys than the home's"):
        use_folder(home, elsewhere)
    same_disk = tmp_path / "same-disk"
    same_disk.mkdir()
    with pytest.raises(ConfigError, match="on the volume of the home"):
        use_folder(home, mounted(home, same_disk))
    assert reads(home) == before
    assert not home.keys.is_symlink()


@needs_memory
def test_a_units_credentials_are_the_keys_where_the_home_has_none(
    home: Home, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = reads(home)
    mounted(home, elsewhere)
    elsewhere.chmod(0o500)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(elsewhere))
    assert home.keys == home.root / "keys"  # its own come first
    shutil.rmtree(home.keys)
    assert home.keys == elsewhere
    assert reads(home) == before
    check_apart(home)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(elsewhere / "nothing"))
    with pytest.raises(ConfigError):
        reads(home)
    assert source_of(home) is KeySource.NONE


@needs_memory
def test_keys_on_the_datas_own_volume_are_beside_the_data_too(
    home: Home, elsewhere: Path, tmp_path: Path
) -> None:
    use_folder(home, mounted(home, elsewhere))
    check_apart(home)
    text = home.site_file.read_text().replace(str(tmp_path / "data" / "dicom"), str(elsewhere))
    home.site_file.write_text(text)
    with pytest.raises(PolicyRefusalError):
        check_apart(home)


def test_a_passphrase_comes_from_a_file_a_descriptor_or_a_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\nmore\n")
    assert passphrase_from() is None
    assert passphrase_from(file) == PASSPHRASE
    assert passphrase_from(descriptor=os.open(file, os.O_RDONLY)) == PASSPHRASE
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert passphrase_from(credential="passphrase") == PASSPHRASE


@pytest.mark.parametrize("said", ["two", "no file", "empty", "no text", "no unit", "a path", "fd"])
def test_a_passphrase_that_is_not_there_is_said_in_one_line(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    empty, binary, good = (tmp_path / name for name in ("empty", "binary", "good"))
    empty.write_bytes(b"")
    binary.write_bytes(b"\xff\xfe")
    good.write_text(PASSPHRASE)
    arguments: dict[str, Any] = {
        "two": {"file": good, "credential": "good"},
        "no file": {"file": tmp_path / "none"},
        "empty": {"file": empty},
        "no text": {"file": binary},
        "no unit": {"credential": "good"},
        "a path": {"credential": "../good"},
        "fd": {"descriptor": 987_654},
    }[said]
    if said == "a path":
        (tmp_path / "unit").mkdir()
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "unit"))
    with pytest.raises(ConfigError, match="passphrase: got nothing"):
        passphrase_from(**arguments)


@needs_memory
@pytest.mark.slow
def test_each_sealed_key_stands_under_its_own_name_and_none_in_anothers_place(
    home: Home, tmp_path: Path, elsewhere: Path
) -> None:
    file = tmp_path / "sealed"
    lock(home, file, PASSPHRASE)
    whole = json.loads(file.read_bytes())
    values = whole["values"]
    assert set(values) == set(PRIVATE)
    swapped = {**values, "statement.pem": values["transport.pem"],
               "transport.pem": values["statement.pem"]}  # fmt: skip
    missing = {name: value for name, value in values.items() if name != "site.key"}
    renamed = {**missing, "site.key.old": values["site.key"]}
    for bent in (swapped, missing, renamed):
        file.write_text(json.dumps({**whole, "values": bent}))
        with pytest.raises(ConfigError, match="does not open"):
            check_opens(file, PASSPHRASE)
    file.write_text(json.dumps(whole))
    unlock(home, file, PASSPHRASE, elsewhere)


@needs_memory
@pytest.mark.slow
def test_a_file_that_the_first_version_sealed_still_opens(
    home: Home, tmp_path: Path, elsewhere: Path
) -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # its format

    from reidscope_protocols.sealing import stretched  # noqa: PLC0415  # its format

    before, salt, nonce = reads(home), secrets.token_bytes(16), secrets.token_bytes(12)
    held = {name: base64.b64encode(home.key(name).read_bytes()).decode() for name in PRIVATE}
    schema = b"reidscope.locked-keys/1"
    sealed = AESGCM(stretched(PASSPHRASE, salt)).encrypt(nonce, json.dumps(held).encode(), schema)
    said = {"salt": salt, "nonce": nonce, "sealed": sealed}
    text = {name: base64.b64encode(value).decode() for name, value in said.items()}
    file = tmp_path / "sealed"
    file.write_text(json.dumps({"schema": schema.decode(), **text}))
    shutil.rmtree(home.keys)
    unlock(home, file, PASSPHRASE, elsewhere)
    assert reads(home) == before


@needs_memory
def test_keys_in_memory_are_not_changed_where_a_restart_would_lose_them(
    home: Home, elsewhere: Path
) -> None:
    use_folder(home, mounted(home, elsewhere))
    done = CliRunner().invoke(cli.app, ["keys", "rotate", "--home", str(home.root)])
    assert isinstance(done.exception, ConfigError)
    assert "which a restart empties" in str(done.exception)
