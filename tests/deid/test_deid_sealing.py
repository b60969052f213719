"""What is taken out can be sealed for one recipient, who alone reads it again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from tests.deid.conftest import BIG, DEFLATED, EXPLICIT, IMPLICIT, Plant, as_bytes, mr_slice

from reidscope_deid import SiteKey, audit_output, deidentify_tree, load_profile
from reidscope_deid.sealing import load_seal, unseal
from reidscope_protocols.errors import ConfigError, InputError

KEY = SiteKey(bytes(range(32)))
PROFILE = load_profile("basic")
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def recipient(folder: Path, name: str, key: Key) -> tuple[Path, Path]:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("recipient")
    return recipient(folder, "registry", rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_the_recipient_reads_what_was_taken_out_and_nobody_else_does(
    tmp_path: Path, plant: Plant, keys: tuple[Path, Path], syntax: str
) -> None:
    content, tokens = plant(syntax)
    (tmp_path / "in").mkdir()
    original = tmp_path / "in/a.dcm"
    original.write_bytes(content)
    seal = load_seal(keys[0])
    record = deidentify_tree(
        tmp_path / "in", tmp_path / "out", key=KEY, profile=PROFILE, seal=seal, durable=False
    )
    assert record.written == 1
    (out,) = (tmp_path / "out").rglob("*.dcm")
    if syntax != DEFLATED:
        assert [place for token, place in tokens.items() if token in out.read_bytes()] == []
    report = audit_output([out], [original], profile=PROFILE)
    assert report.clean
    found = unseal(out, *keys)
    before = pydicom.dcmread(original)
    for keyword in ("PatientName", "PatientID", "StudyDate", "StudyInstanceUID", "InstitutionName"):
        assert found[keyword].value == before[keyword].value
    assert "PixelData" not in found
    assert "Rows" not in found  # kept as it was: nothing to seal


def test_another_recipient_a_plain_file_and_no_file_open_nothing(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(as_bytes(mr_slice(EXPLICIT, number=1), EXPLICIT))
    for name, seal in (("sealed", load_seal(keys[0])), ("plain", None)):
        deidentify_tree(tmp_path / "in", tmp_path / name, key=KEY, profile=PROFILE, seal=seal)
    (sealed,) = (tmp_path / "sealed").rglob("*.dcm")
    (plain,) = (tmp_path / "plain").rglob("*.dcm")
    other = recipient(tmp_path, "other", rsa.generate_private_key(65537, 2048))
    for path, pair in ((sealed, other), (plain, keys), (tmp_path / "none.dcm", keys)):
        with pytest.raises(InputError, match="none that this certificate and key open"):
            unseal(path, *pair)


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    elliptic, _ = recipient(tmp_path, "elliptic", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "text.pem").write_text("none")
    for path in (elliptic, tmp_path / "text.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match="--seal-to"):
            load_seal(path)


def test_a_sequence_that_is_no_envelope_is_a_finding(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.dcm").write_bytes(as_bytes(mr_slice(EXPLICIT, number=1), EXPLICIT))
    deidentify_tree(
        tmp_path / "in", tmp_path / "out", key=KEY, profile=PROFILE, seal=load_seal(keys[0])
    )
    (out,) = (tmp_path / "out").rglob("*.dcm")
    data_set = pydicom.dcmread(out)
    data_set[0x04000500].value[0].EncryptedContent = b"Doe^Jane born 1971 in a small town "
    data_set.save_as(out, enforce_file_format=True)
    assert not audit_output([out], profile=PROFILE).clean
