"""The coordinator's private keys at rest: sealed under a secret that does not lie beside them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from tests.server.conftest import SiteParty, free_ports
from typer.testing import CliRunner

from reidscope_protocols.envelope import peek_payload, sign
from reidscope_protocols.errors import ConfigError, PolicyRefusalError, ReidscopeError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import Receipt
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server import cli, key_files
from reidscope_server.config import ServerHome, write_config
from reidscope_server.coordinator import Coordinator
from reidscope_server.doctor import examine
from reidscope_server.key_files import (
    DESCRIPTOR,
    NAMES,
    check_apart,
    described,
    key_path,
    public_key,
    read_key,
    sealed_file,
    signing_key,
    unlock,
)
from reidscope_server.own_keys import own_keys, rotate_own
from reidscope_server.publish import publish
from reidscope_server.roots import end_overlap, rotate_root
from reidscope_server.sealing_keys import seal_keys

PASSPHRASE = "five words out of hats"
MEMORY = Path("/dev/shm")  # noqa: S108  # memory is the point
OTHER_VOLUME = MEMORY.is_dir() and MEMORY.stat().st_dev != Path.cwd().stat().st_dev
needs_memory = pytest.mark.skipif(not OTHER_VOLUME, reason="no file system in memory here")
FIRST = ("ca.pem", "coordinator.pem", "study.pem", "tls.pem")


def cheaply(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=16, r=8, p=1).derive(passphrase.encode())


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Begin as a new process does: no secret is known, and scrypt costs little."""
    monkeypatch.setattr(key_files, "_SECRETS", {})
    monkeypatch.setattr(key_files, "stretched", cheaply)
    key_files._stretched.cache_clear()  # what a new process has
    return key_files._SECRETS.clear  # what a new process has


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A secret on another volume than the home."""
    folder = MEMORY / f"reidscope-test-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    file = folder / "secret"
    file.write_text(f"{PASSPHRASE}\n")
    file.chmod(0o600)
    yield file
    shutil.rmtree(folder)


@pytest.fixture
def sealed(server_home: ServerHome, mounted: Path) -> ServerHome:
    seal_keys(server_home, f"file:{mounted}", PASSPHRASE)
    return server_home


def of_people(make_study: Callable[..., Study], home: ServerHome, **more: Any) -> bytes:
    study = make_study(sites=("north", "south"), population="patients", **more)
    return sign(study, signing_key(home, "study"))


def lies_open(home: ServerHome) -> list[str]:
    return [path.name for path in home.root.rglob("*")
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]  # fmt: skip


@needs_memory
def test_a_homes_keys_are_sealed_by_one_command_and_stay_the_same_keys(
    server_home: ServerHome, mounted: Path, forget: Callable[[], None]
) -> None:
    before = {name: server_home.key(name).read_bytes() for name in FIRST}
    done = CliRunner().invoke(
        cli.app, ["keys", "seal", f"file:{mounted}", "--home", str(server_home.root)]
    )
    assert done.exit_code == 0, done.output
    assert "4 keys: sealed, under a mounted secret" in done.output
    forget()
    assert {name: read_key(server_home, name) for name in FIRST} == before
    assert lies_open(server_home) == []
    assert all(stat.S_IMODE(sealed_file(server_home, name).stat().st_mode) == 0o600
               for name in FIRST)  # fmt: skip
    assert PASSPHRASE not in server_home.config_file.read_text()
    assert all(found.fine for found in examine(server_home) if "disk" not in found.what)


@needs_memory
def test_a_study_of_people_is_opened_under_sealed_keys_and_refused_under_open_ones(
    server_home: ServerHome, coordinator: Coordinator, mounted: Path,
    make_study: Callable[..., Study],
) -> None:  # fmt: skip
    with pytest.raises(PolicyRefusalError, match="keys: got key files, not encrypted") as caught:
        coordinator.studies.open(of_people(make_study, server_home), {})
    assert str(server_home.root) not in str(caught.value)
    assert coordinator.studies.every() == ()
    seal_keys(server_home, f"file:{mounted}", PASSPHRASE)
    assert coordinator.studies.open(of_people(make_study, server_home), {}).sha256


def test_open_keys_on_purpose_are_the_operators_own_answer(
    server_home: ServerHome, coordinator: Coordinator, make_study: Callable[..., Study]
) -> None:
    config = server_home.config()
    write_config(server_home, config.model_copy(update={"key_source": "plain"}))
    check_apart(server_home)
    assert coordinator.studies.open(of_people(make_study, server_home), {}).sha256
    assert "on purpose" in described(server_home)


def test_a_home_of_before_has_no_key_source_and_opens(server_home: ServerHome) -> None:
    lines = server_home.config_file.read_text().splitlines()
    server_home.config_file.write_text(
        "\n".join(line for line in lines if not line.startswith("key_source"))
    )
    assert server_home.config().key_source == ""
    unlock(server_home)


@needs_memory
@pytest.mark.slow
def test_everything_that_signs_goes_on_under_sealed_keys(
    sealed: ServerHome, coordinator: Coordinator, north: SiteParty,
    make_study: Callable[..., Study], *, forget: Callable[[], None], tmp_path: Path,
) -> None:  # fmt: skip
    forget()
    study = coordinator.studies.open(of_people(make_study, sealed), {})
    coordinator.studies.take_decision(north.decision(study), "north")
    coordinator.studies.take_release(north.release(study), "north")
    (receipt,) = coordinator.studies.receipts_for("north")
    assert Receipt.parse(peek_payload(receipt)).site == "north"
    assert SiteParty("west").enrol(coordinator).certificate_pem
    for role in (KeyRole.STUDY, KeyRole.COORDINATOR):
        before = signing_key(sealed, str(role)).public
        rotate_own(sealed, role)
        assert signing_key(sealed, str(role)).public != before
    rotate_root(sealed, days=1)
    assert sealed_file(sealed, "ca.next.pem").exists()
    assert SiteParty("east").enrol(coordinator).certificate_pem
    assert end_overlap(sealed)
    publish(coordinator, study.sha256, tmp_path / "report", notices=())
    assert (tmp_path / "report" / "report.dsse.json").exists()
    forget()
    unlock(sealed)
    assert lies_open(sealed) == []
    assert {path.name for path in sealed.key("").glob("*.sealed")} == {
        f"{name}.sealed" for name in FIRST
    }


@needs_memory
@pytest.mark.parametrize("role", [KeyRole.STUDY, KeyRole.COORDINATOR])
@pytest.mark.parametrize("dies_after", ["the change", "the next key's own place"])
def test_a_rotation_that_was_cut_goes_on_under_sealed_keys(
    sealed: ServerHome, role: KeyRole, dies_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        if dies_after == "the change":
            patched.setattr("reidscope_server.own_keys._settle", lambda *_: None)
        else:
            patched.setattr("reidscope_server.own_keys.remove_key", lambda *_: None)
        rotate_own(sealed, role)
    followed = [record for record in own_keys(sealed) if record.role is role]
    assert len(followed) == 2
    assert signing_key(sealed, str(role)).public == followed[-1].public
    assert not sealed_file(sealed, f"{role}.next.pem").exists()


@needs_memory
def test_each_sealed_file_opens_under_its_own_name_and_its_own_public_half(
    sealed: ServerHome,
) -> None:
    study, own = (sealed_file(sealed, name) for name in ("study.pem", "coordinator.pem"))
    whole = study.read_bytes()
    said = json.loads(whole)
    bent = [
        own.read_bytes(),
        sealed_file(sealed, "ca.pem").read_bytes(),
        json.dumps({**said, "public": StatementKey.generate().public}).encode(),
        json.dumps({**said, "sealed": said["salt"]}).encode(),
        json.dumps({**said, "nonce": "AAAA"}).encode(),
        json.dumps({**said, "more": 1}).encode(),
        json.dumps({**said, "schema": "reidscope.sealed-key/2"}).encode(),
        whole[:-9],
        b"",
        b"[]",
    ]
    for content in bent:
        study.write_bytes(content)
        with pytest.raises(ConfigError, match="does not open"):
            unlock(sealed)
    study.write_bytes(whole)
    unlock(sealed)
    sealed_file(sealed, "tls.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="group or others may read"):
        unlock(sealed)


@needs_memory
def test_another_secret_opens_nothing_and_says_so_without_a_path(
    sealed: ServerHome, mounted: Path, forget: Callable[[], None]
) -> None:
    mounted.write_text(f"{PASSPHRASE}!\n")
    forget()
    with pytest.raises(ConfigError, match="does not open") as caught:
        unlock(sealed)
    assert str(mounted) not in str(caught.value)
    mounted.unlink()
    forget()
    with pytest.raises(ConfigError, match="passphrase: got nothing that can be read"):
        unlock(sealed)


@needs_memory
def test_a_plain_file_beside_a_sealed_one_is_refused_until_sealing_is_finished(
    sealed: ServerHome, mounted: Path
) -> None:
    pem = read_key(sealed, "study.pem")
    StatementKey.generate().save(sealed.key("study.pem"))
    with pytest.raises(ConfigError, match="a plain key file, though"):
        unlock(sealed)
    assert not all(found.fine for found in examine(sealed))
    seal_keys(sealed, f"file:{mounted}", PASSPHRASE)
    assert read_key(sealed, "study.pem") == pem  # the planted one never counted


@needs_memory
@pytest.mark.parametrize("cut_at", [0, 1, 3, 4])
def test_a_sealing_that_was_cut_anywhere_loses_no_key_and_is_finished_by_the_same_command(
    server_home: ServerHome, mounted: Path, cut_at: int, monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
) -> None:  # fmt: skip
    before = {name: read_key(server_home, name) for name in FIRST}
    written: list[str] = []
    real = key_files.write_sealed

    def cut(home: ServerHome, name: str, pem: bytes, secret: str) -> None:
        if len(written) == cut_at:
            raise KeyboardInterrupt
        real(home, name, pem, secret)
        written.append(name)

    def no_config(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("reidscope_server.sealing_keys.write_sealed", cut)
        patched.setattr("reidscope_server.sealing_keys.write_config", no_config)
        with pytest.raises(KeyboardInterrupt):
            seal_keys(server_home, f"file:{mounted}", PASSPHRASE)
    forget()
    assert {name: read_key(server_home, name) for name in FIRST} == before
    assert seal_keys(server_home, f"file:{mounted}", PASSPHRASE) == len(FIRST)
    # and once more, under another secret
    again = mounted.with_name("another")
    again.write_text("six other words out of hats\n")
    written.clear()
    with monkeypatch.context() as patched:
        patched.setattr("reidscope_server.sealing_keys.write_sealed", cut)
        patched.setattr("reidscope_server.sealing_keys.write_config", no_config)
        with pytest.raises(KeyboardInterrupt):
            seal_keys(server_home, f"file:{again}", "six other words out of hats")
    forget()
    seal_keys(server_home, f"file:{again}", "six other words out of hats")
    mounted.unlink()
    forget()
    assert {name: read_key(server_home, name) for name in FIRST} == before


def test_a_secret_beside_the_home_is_refused(server_home: ServerHome, tmp_path: Path) -> None:
    beside = tmp_path / "secret"
    beside.write_text(PASSPHRASE)
    with pytest.raises(PolicyRefusalError, match="on the volume of what it opens"):
        seal_keys(server_home, f"file:{beside}", PASSPHRASE)
    new = tmp_path / "new"
    done = CliRunner().invoke(
        cli.app, ["init", "--home", str(new), "--key-source", f"file:{beside}"]
    )
    assert isinstance(done.exception, PolicyRefusalError)
    assert not new.exists()
    unlock(server_home)


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ("vault", ()),
        ("file:secret", ()),
        ("file:", ()),
        ("credential:../secret", ()),
        ("passphrase", ()),  # nobody to ask
        ("passphrase", ("--passphrase-file", "/nonexistent")),
        ("passphrase", ("--passphrase-file", "SHORT")),
        ("plain", ("--passphrase-file", "SHORT")),
        ("credential:none", ()),
    ],
)
def test_a_key_source_that_cannot_be_is_said_in_one_line_and_no_home_is_made(
    source: str, more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    short, new = tmp_path / "short", tmp_path / "new"
    short.write_text("short")
    said = [str(short) if word == "SHORT" else word for word in more]
    done = CliRunner().invoke(cli.app, ["init", "--home", str(new), "--key-source", source, *said])
    assert isinstance(done.exception, ReidscopeError)
    assert "\n" not in str(done.exception)
    assert not new.exists()


@needs_memory
def test_a_passphrase_and_a_credential_seal_a_new_home_from_the_start(
    tmp_path: Path, mounted: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(mounted.parent))
    for source, more in (("passphrase", ["--passphrase-file", str(mounted)]),
                         ("credential:secret", [])):  # fmt: skip
        home = ServerHome(tmp_path / source.partition(":")[0])
        arguments = ["init", "--home", str(home.root), "--key-source", source, *more]
        done = CliRunner().invoke(cli.app, arguments)
        assert done.exit_code == 0, done.output
        assert lies_open(home) == []
        forget()
        if source == "passphrase":
            with pytest.raises(ConfigError, match="no terminal to ask at"):
                unlock(home)
            monkeypatch.setenv(DESCRIPTOR, str(os.open(mounted, os.O_RDONLY)))
        unlock(home)
        assert {name for name in NAMES if sealed_file(home, name).exists()} == set(FIRST)


@needs_memory
def test_who_verifies_needs_no_secret(
    sealed: ServerHome, mounted: Path, forget: Callable[[], None]
) -> None:
    public = signing_key(sealed, "study").public
    mounted.unlink()
    forget()
    assert public_key(sealed, "study") == public
    assert public in {record.public for record in own_keys(sealed)}
    done = CliRunner().invoke(cli.app, ["keys", "list", "--json", "--home", str(sealed.root)])
    assert public in done.output


@needs_memory
def test_a_key_that_wants_a_file_gets_one_in_memory_for_as_long_as_it_is_used(
    sealed: ServerHome,
) -> None:
    with key_path(sealed, "tls.pem") as path:
        assert path.startswith("/proc/self/fd/")
        assert Path(path).read_bytes() == read_key(sealed, "tls.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sealed.key("tls.crt"), path)
        context.load_cert_chain(sealed.key("tls.crt"), path)  # as a renewal does
    assert not Path(path).exists() or "memfd" not in str(Path(path).readlink())


@needs_memory
@pytest.mark.slow
def test_a_running_coordinator_shows_its_certificate_at_both_doors_and_leaves_nothing_open(
    tmp_path: Path, mounted: Path
) -> None:
    home = ServerHome(tmp_path / "home")
    ports = dict(zip(("enrolment", "control", "fleet"), free_ports(3), strict=True))
    program = Path(sys.executable).with_name("reidscope-server")
    options = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    subprocess.run(
        [program, "init", "--home", home.root, "--key-source", f"file:{mounted}", *options],
        check=True,
    )
    running = subprocess.Popen(
        [program, "up", "--home", home.root], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        said = [running.stdout.readline() for _ in range(2)]
        assert said[0] == "keys: sealed, under a mounted secret\n"
        assert said[1].endswith("listening\n")
        for port in (ports["control"], ports["fleet"]):
            context = ssl.create_default_context(cafile=home.key("ca.crt"))
            context.set_alpn_protocols(["h2"])
            with (
                socket.create_connection(("127.0.0.1", port), 10) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as line,
            ):
                assert line.version() == "TLSv1.3"
        assert lies_open(home) == []
        links = [each.readlink() for each in Path(f"/proc/{running.pid}/fd").iterdir()]
        assert any("memfd:key" in str(link) for link in links)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)
        running.stdout.close()
    assert running.returncode == 0
