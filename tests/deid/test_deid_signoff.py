"""Sign-off: an officer's signature binds a record and its very files, and names nobody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from reidscope_deid import Profile, SiteKey, deidentify_tree
from reidscope_deid.review.cli import app
from reidscope_deid.review.signoff import (
    check_sign_off,
    envelope_of,
    generate_officer_key,
    load_officer_key,
    load_public_key,
    sign_off,
)
from reidscope_protocols.envelope import peek_payload, sign_payload
from reidscope_protocols.errors import BadSignatureError, ConfigError, MalformedError

Slice = Callable[..., Path]


@pytest.fixture
def signed(tmp_path: Path, slice_file: Slice, key: SiteKey, profile: Profile) -> Path:
    """Folder with an output of two files, its record, and the officer's signature."""
    slice_file()
    slice_file("in/b.dcm", SOPInstanceUID="1.2.3.4")
    made = deidentify_tree(
        tmp_path / "in", tmp_path / "out", key=key, profile=profile, durable=False
    )
    (tmp_path / "record.json").write_text(json.dumps(made.document()))
    generate_officer_key(tmp_path / "officer")
    sign(tmp_path)
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "out").rglob("*") if path.is_file()]


def sign(folder: Path, role: str = "privacy-officer") -> Path:
    private = load_officer_key(folder / "officer")
    return sign_off(folder / "record.json", files(folder), private, role=role)


def check(folder: Path) -> str:
    public = load_public_key(folder / "officer.pub")
    return check_sign_off(folder / "record.json", files(folder), public).role


def test_what_was_signed_is_found_unchanged(signed: Path) -> None:
    assert check(signed) == "privacy-officer"
    said = json.loads(peek_payload(envelope_of(signed / "record.json").read_bytes()))
    assert said["outputs"]["files"] == 2
    assert said.keys() == {"schema", "role", "record_sha256", "outputs", "signed_at"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a sample of a file": lambda one: flip(files(one)[0]),
    "a file more": lambda one: (one / "out/Doe.txt").write_text("x"),
    "a file less": lambda one: files(one)[0].unlink(),
    "a file in place of another": lambda one: shutil.copy(files(one)[0], files(one)[1]),
    "the record": lambda one: (one / "record.json").write_text(
        (one / "record.json").read_text().replace('"people": 1', '"people": 2')
    ),
    "another record's signature": lambda one: envelope_of(one / "record.json").write_bytes(
        sign_payload(
            b"{}",
            payload_type="application/vnd.reidscope.deid-signoff+json",
            key=load_officer_key(one / "officer"),
        )
    ),
    "another type of statement": lambda one: envelope_of(one / "record.json").write_bytes(
        sign_payload(b"{}", payload_type="text/plain", key=load_officer_key(one / "officer"))
    ),
    "no signature": lambda one: envelope_of(one / "record.json").unlink(),
    "a signature that is none": lambda one: envelope_of(one / "record.json").write_bytes(b"Doe"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_was_changed_since_is_refused(
    signed: Path, change: Callable[[Path], object]
) -> None:
    change(signed)
    with pytest.raises((BadSignatureError, MalformedError)) as caught:
        check(signed)
    assert "Doe" not in str(caught.value)


def test_a_name_may_change_the_bytes_may_not(signed: Path) -> None:
    one = files(signed)[0]
    one.rename(one.with_name("other.dcm"))
    assert check(signed) == "privacy-officer"


def test_another_officers_key_does_not_open_it(signed: Path) -> None:
    (signed / "officer").unlink()
    (signed / "officer.pub").unlink()
    generate_officer_key(signed / "officer")
    with pytest.raises(BadSignatureError):
        check(signed)


def test_a_signature_or_a_key_is_never_overwritten(signed: Path) -> None:
    with pytest.raises(ConfigError):
        sign(signed)
    with pytest.raises(ConfigError):
        generate_officer_key(signed / "officer")


@pytest.mark.parametrize("role", ["Dr. Jane Doe", "", "jane@example.org"])
def test_a_name_is_no_role(signed: Path, role: str) -> None:
    envelope_of(signed / "record.json").unlink()
    with pytest.raises(ConfigError) as caught:
        sign(signed, role)
    assert "Jane" not in str(caught.value)
    assert not envelope_of(signed / "record.json").exists()


def test_another_folder_than_the_records_is_not_signed(signed: Path) -> None:
    envelope_of(signed / "record.json").unlink()
    files(signed)[0].unlink()
    with pytest.raises(ConfigError):
        sign(signed)


def test_a_key_as_openssh_writes_it_signs_and_checks(signed: Path) -> None:
    envelope_of(signed / "record.json").unlink()
    private = Ed25519PrivateKey.generate()
    (signed / "officer").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    (signed / "officer.pub").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    )
    sign(signed)
    assert check(signed) == "privacy-officer"


def test_a_key_of_another_kind_or_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    other = generate_private_key(SECP256R1())
    path.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        load_officer_key(path)
    with pytest.raises(ConfigError):
        load_public_key(path)
    generate_officer_key(tmp_path / "officer")
    assert (tmp_path / "officer").stat().st_mode & 0o777 == 0o600
    (tmp_path / "officer").chmod(0o640)
    with pytest.raises(ConfigError):
        load_officer_key(tmp_path / "officer")


def test_the_commands_sign_check_and_write_the_page(signed: Path) -> None:
    def command(*words: str | Path) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    envelope_of(signed / "record.json").unlink()
    record, out = signed / "record.json", signed / "out"
    command("officer-keygen", signed / "second")
    command("signoff", record, out, "--key", signed / "second", "--role", "data-steward")
    asked = ("signoff", record, out, "--check", "--public-key", signed / "second.pub")
    assert "data-steward" in command(*asked)
    assert json.loads(command(*asked, "--json"))["role"] == "data-steward"
    command("page", record, signed / "page.html")
    assert "De-identification record" in (signed / "page.html").read_text()
    inside = shutil.copy(record, out / "record.json")
    with pytest.raises(ConfigError):
        command("signoff", inside, out, "--key", signed / "second")
    for wrong in ((), ("--check",), ("--check", "--key", signed / "second")):
        with pytest.raises(ConfigError):
            command("signoff", record, out, *wrong)
