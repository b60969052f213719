"""What was taken out, encrypted into the file for the holder of a certificate (PS3.15 E.1.1).

The element is EncryptedAttributesSequence (0400,0500): a CMS envelope (RFC 5652, AES-256-CBC under
a fresh key, RSA) around the original values. Whoever has the private key reads them again; nobody
else learns more than their length. Envelopes are random, so sealed outputs differ from run to run.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import pydicom
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding as Form
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs7
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from reidscope_deid.encoding import EXPLICIT_LITTLE
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.sealed import CONTENT, CONTENT_SYNTAX, EXPLICIT_UID, SEALED
from reidscope_protocols.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reidscope_deid.elements import Element
    from reidscope_deid.encoding import Encoding
    from reidscope_deid.part10 import Opened

_MODIFIED = 0x04000550
_SAMPLES_AND_ON = 0x7FE00000


class Seal:
    """Encrypts for one recipient.

    Parameters
    ----------
    certificate : x509.Certificate
        With an RSA key.
    """

    __slots__ = ("_certificate",)

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate

    @property
    def name(self) -> str:
        """SHA-256 of the certificate."""
        return self._certificate.fingerprint(SHA256()).hex()

    def element(self, opened: Opened, changed: Iterable[Element], encoding: Encoding) -> bytes:
        """Write the sequence that holds the original values of elements.

        Parameters
        ----------
        opened : Opened
            The original.
        changed : iterable of Element
            Elements of its top level that the output does not hold as they were.
        encoding : Encoding
            Of the output.

        Raises
        ------
        QuarantinedError
            pydicom cannot read one of them.
        """
        raw = b"".join(
            opened.data[one.start : one.end] for one in changed if one.tag < _SAMPLES_AND_ON
        )
        content = _as_explicit(raw, opened.encoding)
        envelope = (
            pkcs7.PKCS7EnvelopeBuilder()
            .set_data(content)
            .add_recipient(self._certificate)
            .set_content_encryption_algorithm(AES256)
            .encrypt(Form.DER, [pkcs7.PKCS7Options.Binary])
        )
        item = encoding.element(CONTENT_SYNTAX, b"UI", EXPLICIT_UID) + encoding.element(
            CONTENT, b"OB", envelope
        )
        return encoding.element(SEALED, b"SQ", encoding.item(item))


def load_seal(path: Path) -> Seal:
    """Read a recipient's certificate.

    Raises
    ------
    ConfigError
        No certificate, or none with an RSA key.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise _refused("no certificate") from None
    if not isinstance(certificate.public_key(), RSAPublicKey):
        raise _refused("a certificate with another kind of key")
    return Seal(certificate)


def _refused(got: str) -> ConfigError:
    return ConfigError(
        "--seal-to", got=got, expected="a PEM certificate with an RSA key", do="name another"
    )


def _as_explicit(raw: bytes, encoding: Encoding) -> bytes:
    """Encode one item of ModifiedAttributesSequence as Explicit VR Little Endian."""
    try:
        with warnings.catch_warnings():
            # A warning of pydicom's holds the value that it is about.
            warnings.simplefilter("ignore")
            if encoding is not EXPLICIT_LITTLE or len(raw) & 1:  # values of odd length, too
                original = read_dataset(io.BytesIO(raw), not encoding.explicit, encoding.little)
                for one in original.iterall():  # decoded, so that every value is encoded again
                    if isinstance(one.value, bytes) and len(one.value) & 1:
                        one.value += b"\0"  # pydicom pads all but UN
                stream = pydicom.filebase.DicomBytesIO()
                stream.is_implicit_VR, stream.is_little_endian = False, True
                write_dataset(stream, original)
                raw = stream.getvalue()
    except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
        raise QuarantinedError(Reason.MALFORMED) from None
    return EXPLICIT_LITTLE.element(_MODIFIED, b"SQ", EXPLICIT_LITTLE.item(raw))


def unseal(path: Path, certificate: Path, private_key: Path) -> Dataset:
    """Read the original values out of a sealed output.

    Parameters
    ----------
    path : Path
        A file that was sealed.
    certificate, private_key : Path
        Of the recipient; PEM, the key without a password.

    Raises
    ------
    InputError
        Not sealed, or not for this recipient.

    Privacy
    -------
    Returns identifiers: for the recipient's eyes alone (docs/privacy.md, "De-identification").
    """
    try:
        holder = x509.load_pem_x509_certificate(certificate.read_bytes())
        key = load_pem_private_key(private_key.read_bytes(), None)
        envelope = bytes(pydicom.dcmread(path)[SEALED].value[0][CONTENT].value)
        if not isinstance(key, RSAPrivateKey):
            raise _closed()
        content = pkcs7.pkcs7_decrypt_der(_trimmed(envelope), holder, key, [])
        data_set: Dataset = read_dataset(io.BytesIO(content), False, True)
        original: Dataset = data_set[_MODIFIED].value[0]
    except (OSError, ValueError, KeyError, TypeError, pydicom.errors.InvalidDicomError):
        raise _closed() from None
    return original


def _trimmed(envelope: bytes) -> bytes:
    """Take off the zero that pads an envelope to an even length."""
    size = envelope[1]
    head = 2
    if size & 0x80:
        head += size & 0x7F
        size = int.from_bytes(envelope[2:head], "big")
    return envelope[: head + size]


def _closed() -> InputError:
    return InputError(
        "the sealed file",
        got="none that this certificate and key open",
        expected="a file written with --seal-to this certificate",
        do="name the recipient's own certificate and key",
    )
