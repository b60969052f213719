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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reidscope_protocols.distributed import ALL_SITES
from reidscope_protocols.enrolment import EnrolmentRequest, Invitation, certificate_sha256
from reidscope_protocols.envelope import open_envelope, peek_payload
from reidscope_protocols.errors import InputError, TokenRefusedError, WrongAudienceError
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.statements import COORDINATOR, WORLD
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.ca import certify_site
from reidscope_server.config import ServerHome
from reidscope_server.own_keys import believed_keys, own_keys
from reidscope_server.roots import is_trusted
from reidscope_server.site_keys import SiteKeys, current_record
from reidscope_server.store import timestamp, transaction

__all__ = ["EnrolledSite", "Sites", "own_keys"]

_TOKEN_BYTES = 16
_TOKEN_HOURS = 72
_TRIES = 5
_PINNED = 20  # keys of an invitation
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledSite:
    """One site of the table.

    Attributes
    ----------
    key_since : datetime
        When its statement key began: at enrolment, or at its last change.
    root : str or None
        SHA-256 of the root that signed its certificate; None for this home's first.
    former_keys : tuple of KeyRecord
        Keys that it signed with before; those that ended at once are for evidence alone.
    """

    name: str
    certificate_sha256: str
    transport_key: bytes
    statement_key: str
    enrolled_at: datetime
    revoked: bool
    key_since: datetime
    root: str | None
    former_keys: tuple[KeyRecord, ...]

    def key_record(self) -> KeyRecord:
        """Return the site's statement key as the world may pin it."""
        return current_record(self.name, self.statement_key, self.key_since)

    def key_records(self) -> tuple[KeyRecord, ...]:
        """Return every key that the site ever signed with, the one that holds now last."""
        return (*self.former_keys, self.key_record())


class Sites:
    """The sites inside one open database."""

    def __init__(self, connection: sqlite3.Connection, home: ServerHome) -> None:
        self._connection = connection
        self._home = home
        self.keys = SiteKeys(connection, home)

    def invite(self, site: str) -> Invitation:
        """Make an invitation with a fresh token; earlier tokens of the site die.

        Raises
        ------
        InputError
            No name that a site can have.
        """
        if not _NAME.fullmatch(site) or site in {COORDINATOR, WORLD, ALL_SITES}:
            raise InputError(
                "site",
                got="a name that a site cannot have",
                expected="lower case, digits and hyphens, at most 40; not coordinator, world or "
                + ALL_SITES,
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
            keys=believed_keys(self._home)[-_PINNED:],
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

    def every(self, named: str | None = None) -> tuple[EnrolledSite, ...]:
        """Return all sites that ever enrolled, or the one of a name."""
        former = self.keys.all_former(named)
        rows = self._connection.execute(
            "SELECT name, certificate_sha256, transport_key, statement_key, enrolled_at,"
            " revoked_at, COALESCE(key_since, enrolled_at), root FROM site"
            " WHERE ?1 IS NULL OR name = ?1 ORDER BY name",
            (named,),
        )
        return tuple(
            EnrolledSite(
                name=name,
                certificate_sha256=certificate,
                transport_key=transport.encode(),
                statement_key=statement,
                enrolled_at=datetime.fromisoformat(enrolled_at),
                revoked=revoked_at is not None,
                key_since=datetime.fromisoformat(since),
                root=root,
                former_keys=former.get(name, ()),
            )
            for (
                name,
                certificate,
                transport,
                statement,
                enrolled_at,
                revoked_at,
                since,
                root,
            ) in rows.fetchall()
        )

    def at_the_doors(self) -> Iterator[tuple[str, str, bytes]]:
        """Name, certificate sha256 and transport key of all that may pass now.

        A site whose certificate was followed by another has two, the one that holds last, until
        the new one is seen.
        """
        trusted: dict[str | None, bool] = {}
        for name, sha256, transport, root in self.keys.at_the_doors():
            if root not in trusted:
                trusted[root] = is_trusted(self._home, root)
            if trusted[root]:
                yield name, sha256, transport

    def by_certificate(self, sha256: str) -> str | None:
        """Return the name of the site that holds a certificate, None if revoked or unknown."""
        row = self._connection.execute(
            "SELECT name, root, 1 FROM site WHERE certificate_sha256 = ? AND revoked_at IS NULL"
            " UNION ALL SELECT site, f.root, 0 FROM former_certificate f JOIN site ON name = site"
            " WHERE sha256 = ? AND revoked_at IS NULL AND ends_at > ?",
            (sha256, sha256, datetime.now(UTC).isoformat()),
        ).fetchone()
        if row is None or not is_trusted(self._home, row[1]):
            return None
        name: str = row[0]
        if row[2]:
            self.keys.succeeded(name)
        return name

    def ring(self, of: str | None = None) -> KeyRing:
        """Return the keys that sites which are not revoked may speak with now, or one of them."""
        return KeyRing.of(
            record
            for site in self.every(of)
            if not site.revoked
            for record in site.key_records()
            if record.ended_at is None
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
        root = certificate_sha256(self._home.key("ca.crt").read_text())
        with transaction(self._connection):
            self.keys.end_all(request.site)
            self._connection.execute(
                "INSERT OR REPLACE INTO site (name, certificate_sha256, transport_key,"
                " statement_key, enrolled_at, root) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    request.site,
                    certificate_sha256(pem),
                    transport.decode(),
                    request.statement_key,
                    now.isoformat(),
                    root,
                ),
            )
        return self.keys.grant(request.site, request.nonce, pem)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
