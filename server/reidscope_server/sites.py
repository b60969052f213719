"""Who is a site: invitations with one-time tokens, enrolment, revocation, and whose key is whose.

A token has 128 bits, is stored hashed, is bound to one site, lives 72 hours, and dies after five
wrong tries at that site's door.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reidscope_protocols.enrolment import (
    EnrolmentGrant,
    EnrolmentRequest,
    Invitation,
    certificate_sha256,
)
from reidscope_protocols.envelope import open_envelope, peek_payload, sign
from reidscope_protocols.errors import InputError, TokenRefusedError, WrongAudienceError
from reidscope_protocols.keys import KeyRecord, KeyRing, StatementKey
from reidscope_protocols.statements import COORDINATOR, WORLD
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.ca import certify_site
from reidscope_server.config import ServerHome
from reidscope_server.store import timestamp, transaction

_TOKEN_BYTES = 16
_TOKEN_HOURS = 72
_TRIES = 5
_KEY_DAYS = 730
_GRANT_HOURS = 72
_SKEW = timedelta(days=1)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledSite:
    """One site of the table."""

    name: str
    certificate_sha256: str
    transport_key: bytes
    statement_key: str
    enrolled_at: datetime
    revoked: bool

    def key_record(self) -> KeyRecord:
        """Return the site's statement key as the world may pin it."""
        return KeyRecord(
            role=KeyRole.SITE,
            site=self.name,
            public=self.statement_key,
            not_before=self.enrolled_at - _SKEW,
            not_after=self.enrolled_at + timedelta(days=_KEY_DAYS),
        )


class Sites:
    """The sites inside one open database."""

    def __init__(self, connection: sqlite3.Connection, home: ServerHome) -> None:
        self._connection = connection
        self._home = home

    def invite(self, site: str) -> Invitation:
        """Make an invitation with a fresh token; earlier tokens of the site die.

        Raises
        ------
        InputError
            No name that a site can have.
        """
        if not _NAME.fullmatch(site) or site in {COORDINATOR, WORLD}:
            raise InputError(
                "site",
                got="a name that a site cannot have",
                expected="lower case, digits and hyphens, at most 40; not coordinator or world",
                do="choose another name",
            )
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        not_after = datetime.now(UTC) + timedelta(hours=_TOKEN_HOURS)
        ca_pem = self._home.key("ca.crt").read_text()
        with transaction(self._connection):
            self._connection.execute("DELETE FROM token WHERE site = ?", (site,))
            self._connection.execute(
                "INSERT INTO token (sha256, site, not_after) VALUES (?, ?, ?)",
                (_hashed(token), site, not_after.isoformat()),
            )
        return Invitation(
            site=site,
            token=token,
            not_after=not_after,
            addresses=self._home.config().addresses,
            ca_pem=ca_pem,
            ca_sha256=certificate_sha256(ca_pem),
            keys=own_keys(self._home),
        )

    def token_outstanding(self) -> bool:
        """Whether the enrolment port has a reason to be open."""
        row = self._connection.execute(
            "SELECT 1 FROM token WHERE used_at IS NULL AND tries < ? AND not_after > ?",
            (_TRIES, datetime.now(UTC).isoformat()),
        ).fetchone()
        return row is not None

    def enrol(self, request_envelope: bytes, token: str) -> bytes:
        """Check a request and its token, sign the site's certificate, and return the grant.

        Raises
        ------
        TokenRefusedError
            The token is unknown, used, expired, dead, or another site's.
        StatementError
            The request is not signed by the key that it names, or the site was shown another CA.
        """
        claimed = EnrolmentRequest.parse(peek_payload(request_envelope))
        own = KeyRecord(
            role=KeyRole.SITE,
            site=claimed.site,
            public=claimed.statement_key,
            not_before=claimed.issued_at,
            not_after=claimed.not_after,
        )
        request = open_envelope(
            request_envelope,
            EnrolmentRequest,
            KeyRing((own,)),
            role=KeyRole.SITE,
            site=claimed.site,
        ).statement
        request.check_time(datetime.now(UTC))
        request.check_audience(COORDINATOR)
        if request.ca_sha256 != certificate_sha256(self._home.key("ca.crt").read_text()):
            raise WrongAudienceError(
                "enrolment request",
                got="a site that was shown another CA",
                expected="this coordinator's",
                do="compare the CA's SHA-256 with the site: somebody stands between",
            )
        certificate = certify_site(self._home, request.csr_pem, request.site)
        self._use_token(token, request.site)
        return self._admit(request, certificate)

    def revoke(self, site: str) -> None:
        """Turn a site away from now on, on open connections too."""
        with transaction(self._connection):
            done = self._connection.execute(
                "UPDATE site SET revoked_at = ? WHERE name = ?", (timestamp(), site)
            )
            self._connection.execute("DELETE FROM token WHERE site = ?", (site,))
        if not done.rowcount:
            raise InputError(
                "site", got="no enrolled site of that name", expected="one", do="look at `sites`"
            )

    def every(self) -> tuple[EnrolledSite, ...]:
        """Return all sites that ever enrolled."""
        rows = self._connection.execute(
            "SELECT name, certificate_sha256, transport_key, statement_key, enrolled_at,"
            " revoked_at FROM site ORDER BY name"
        )
        return tuple(
            EnrolledSite(
                name=name,
                certificate_sha256=certificate,
                transport_key=transport.encode(),
                statement_key=statement,
                enrolled_at=datetime.fromisoformat(enrolled_at),
                revoked=revoked_at is not None,
            )
            for name, certificate, transport, statement, enrolled_at, revoked_at in rows.fetchall()
        )

    def by_certificate(self, sha256: str) -> str | None:
        """Return the name of the site that holds a certificate, None if revoked or unknown."""
        row = self._connection.execute(
            "SELECT name FROM site WHERE certificate_sha256 = ? AND revoked_at IS NULL", (sha256,)
        ).fetchone()
        return row[0] if row else None

    def ring(self, of: str | None = None) -> KeyRing:
        """Return the statement keys of all sites that are not revoked, or of one of them."""
        return KeyRing.of(
            site.key_record()
            for site in self.every()
            if not site.revoked and of in (None, site.name)
        )

    def _use_token(self, token: str, site: str) -> None:
        refused = TokenRefusedError(
            "token",
            got="one that cannot be used",
            expected="an unused token of this site, at most 72 hours old",
            do="make a new invitation",
        )
        with transaction(self._connection):
            row = self._connection.execute(
                "SELECT sha256, not_after, tries FROM token WHERE site = ? AND used_at IS NULL",
                (site,),
            ).fetchone()
            if row is None or row[2] >= _TRIES or row[1] <= datetime.now(UTC).isoformat():
                raise refused
            right = hmac.compare_digest(row[0], _hashed(token))
            if right:
                self._connection.execute(
                    "UPDATE token SET used_at = ? WHERE sha256 = ?", (timestamp(), row[0])
                )
            else:
                self._connection.execute(
                    "UPDATE token SET tries = tries + 1 WHERE sha256 = ?", (row[0],)
                )
        if not right:
            raise refused

    def _admit(self, request: EnrolmentRequest, certificate: x509.Certificate) -> bytes:
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        transport = certificate.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        now = datetime.now(UTC)
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO site VALUES (?, ?, ?, ?, ?, NULL)",
                (
                    request.site,
                    certificate_sha256(pem),
                    transport.decode(),
                    request.statement_key,
                    now.isoformat(),
                ),
            )
        grant = EnrolmentGrant(
            audience=(request.site,),
            issued_at=now,
            not_after=now + timedelta(hours=_GRANT_HOURS),
            site=request.site,
            nonce=request.nonce,
            certificate_pem=pem,
        )
        return sign(grant, StatementKey.load(self._home.key("coordinator.pem")))


def own_keys(home: ServerHome) -> tuple[KeyRecord, ...]:
    """Return the coordinator's two public statement keys, as sites pin them."""
    created = x509.load_pem_x509_certificate(home.key("ca.crt").read_bytes()).not_valid_before_utc
    return tuple(
        KeyRecord(
            role=role,
            site=None,
            public=StatementKey.load(home.key(name)).public,
            not_before=created,
            not_after=created + timedelta(days=_KEY_DAYS),
        )
        for role, name in ((KeyRole.STUDY, "study.pem"), (KeyRole.COORDINATOR, "coordinator.pem"))
    )


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
