"""Whether the coordinator can be reached as itself, and how far its clock is from ours."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509

from reidscope_protocols.errors import StaleError, UnreachableError
from reidscope_site.proxy import connect_to

_SECONDS = 10.0
_SKEW_SECONDS = 300
_HEAD_BYTES = 16_384
_SHOWN = 60  # characters


def check_port(address: str, *, ca_pem: str, certificate: Path, key: Path) -> None:
    """Shake hands with a port of the coordinator, as the pinned CA's and as this site.

    Raises
    ------
    UnreachableError
        Nobody answers, or somebody whose certificate another CA issued: its issuer is named.
    """
    _handshake(address, _context(ca_pem, certificate, key)).close()


def check_clock(address: str, *, ca_pem: str, certificate: Path, key: Path) -> None:
    """Compare this machine's clock with the coordinator's, as its HTTPS port tells it.

    Raises
    ------
    UnreachableError
        It cannot be asked.
    StaleError
        The clocks are further apart than statements allow.
    """
    host, _, _ = address.rpartition(":")
    with _handshake(address, _context(ca_pem, certificate, key)) as line:
        try:
            line.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = line.recv(_HEAD_BYTES).decode("latin-1")
        except OSError:
            head = ""
    if not head:
        raise _unreachable("no word on this site's own certificate")
    now = datetime.now(UTC)
    dates = [each[5:] for each in head.split("\r\n") if each.lower().startswith("date:")]
    try:
        theirs = parsedate_to_datetime(dates[0].strip())
    except (IndexError, ValueError):
        raise _unreachable("an answer without a date") from None
    ahead = round((now - theirs).total_seconds())
    if abs(ahead) > _SKEW_SECONDS:
        raise StaleError(
            "clock",
            got=f"{abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's",
            expected=f"at most {_SKEW_SECONDS} s between the two",
            do="set this machine's clock by NTP, or tell the coordinator about theirs",
        )


def _context(ca_pem: str, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem)
    context.load_cert_chain(certificate, key)
    return context


def _handshake(address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, _, _ = address.rpartition(":")
    line = connect_to(address, timeout_s=_SECONDS)
    try:
        return context.wrap_socket(line, server_hostname=host)
    except ssl.SSLCertVerificationError:
        line.close()
        raise UnreachableError(
            "coordinator",
            got=f"a certificate that {_issuer(address)} issued",
            expected="one by the pinned CA",
            do="have the network's people exempt this address from inspection",
        ) from None
    except OSError:
        line.close()
        raise _unreachable("no TLS there") from None


def _issuer(address: str) -> str:
    """Name who issued the certificate that is shown there, in plain characters."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Safety: nothing is sent or read on this connection but the certificate, to name its issuer.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connect_to(address, timeout_s=_SECONDS)) as line:
            shown = line.getpeercert(binary_form=True)
        named = x509.load_der_x509_certificate(shown or b"").issuer.rfc4514_string()
    except (OSError, ValueError, UnreachableError):
        return "somebody unknown"
    plain = "".join(each for each in named if each.isascii() and each.isprintable())
    return f"{plain[:_SHOWN]!r}"


def _unreachable(got: str) -> UnreachableError:
    return UnreachableError(
        "coordinator",
        got=got,
        expected="its pinned certificate and an answer",
        do="check the pinned addresses and that it is up",
    )
