"""How a site's keys follow one another: the old one signs, a grant answers, both hold a while.

Pure tables: whoever calls has seen to it that the site is one of the table (its certificate, over
the wire; a person of the coordinator, by file). A key hands over once. The same bytes again get the
same certificate again: a grant may be lost on its way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from reidscope_protocols.enrolment import EnrolmentGrant, EnrolmentRequest, certificate_sha256
from reidscope_protocols.envelope import open_envelope, peek_payload, sign
from reidscope_protocols.errors import (
    InputError,
    MalformedError,
    ReplayedError,
    WrongAudienceError,
)
from reidscope_protocols.key_change import (
    KEY_LIFE,
    KEY_SKEW,
    OVERLAP,
    KeyChange,
    open_change,
)
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.statements import COORDINATOR
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.ca import certify_site
from reidscope_server.config import ServerHome
from reidscope_server.key_files import signing_key
from reidscope_server.own_keys import believed_keys
from reidscope_server.roots import overlap
from reidscope_server.store import transaction

GRANT_HOURS = 72
_NAMED = 20  # study keys of a grant
_STOLEN = timedelta(hours=1)
"""How long a certificate outlives a change for a stolen key: until the grant is surely there."""


class SiteKeys:
    """The keys of the sites inside one open database."""

    def __init__(self, connection: sqlite3.Connection, home: ServerHome) -> None:
        self._connection = connection
        self._home = home

    def change(self, envelope: bytes, site: str) -> bytes:
        """Take a site's KeyChange, and return the grant of its new certificate.

        Raises
        ------
        StatementError
            Not signed by the key that holds now and by the new one, or not about this site.
        ReplayedError
            The new key was somebody's before.
        InputError
            The site is not enrolled, or was revoked.
        """
        current = self._current(site)
        known = self._connection.execute(
            "SELECT nonce, certificate_pem FROM key_change WHERE site = ? AND envelope = ?",
            (site, envelope),
        ).fetchone()
        if known:
            return self.grant(site, *known)
        again = self._again(envelope, site)
        if again is not None:
            return again
        opened = open_change(
            envelope,
            KeyRing((current,)),
            role=KeyRole.SITE,
            site=site,
            reader=COORDINATOR,
            now=datetime.now(UTC),
        )
        if opened.claim.csr_pem is None:
            raise MalformedError(
                "key change",
                got="no certificate request",
                expected="one, for the site's transport key",
                do="let `reidscope-site keys rotate` make it",
            )
        self._refuse_known_key(opened.said.new_key)
        root = self._root(opened.claim.ca_sha256)
        certificate = certify_site(self._home, opened.claim.csr_pem, site, root=root)
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        with transaction(self._connection):
            if self._current(site).public != opened.said.old_key:
                raise ReplayedError(
                    "key change",
                    got="a key that handed over meanwhile",
                    expected="the key that holds now",
                    do="keep the first change",
                )
            self._retire_key(opened.old_record())
            ends = _STOLEN if opened.said.at_once else OVERLAP
            self._retire_certificate(site, ends)
            self._put(site, certificate, pem, root)
            self._connection.execute(
                "UPDATE site SET statement_key = ?, key_since = ? WHERE name = ?",
                (opened.said.new_key, opened.said.issued_at.isoformat(), site),
            )
            self._connection.execute(
                "INSERT INTO key_change VALUES (?, ?, ?, ?, ?)",
                (site, opened.said.old_key, envelope, opened.said.nonce, pem),
            )
        return self.grant(site, opened.said.nonce, pem)

    def _again(self, envelope: bytes, site: str) -> bytes | None:
        """Answer a change that was taken before and is signed anew: its grant never arrived."""
        claimed = KeyChange.parse(peek_payload(envelope))
        row = self._connection.execute(
            "SELECT envelope, certificate_pem FROM key_change WHERE site = ? AND old_key = ?",
            (site, claimed.old_key),
        ).fetchone()
        if row is None or KeyChange.parse(peek_payload(row[0])).new_key != claimed.new_key:
            return None
        opened = open_change(
            envelope,
            KeyRing(self.former(site)),
            role=KeyRole.SITE,
            site=site,
            reader=COORDINATOR,
            now=datetime.now(UTC),
        )
        granted = x509.load_pem_x509_certificate(row[1].encode()).public_key()
        asked = x509.load_pem_x509_csr((opened.claim.csr_pem or "").encode()).public_key()
        if granted != asked:
            return None
        if opened.said.at_once:
            with transaction(self._connection):
                self._retire_key(opened.old_record())
        return self.grant(site, opened.said.nonce, row[1])

    def renew(self, envelope: bytes, site: str) -> bytes:
        """Answer a site's request for another certificate, signed by its statement key.

        Raises
        ------
        StatementError
            Not signed by the site's key, or it knows another root.
        ReplayedError
            Its nonce was used.
        """
        current = self._current(site)
        known = self._connection.execute(
            "SELECT nonce, certificate_pem, envelope FROM renewal WHERE site = ? AND nonce = ?",
            (site, EnrolmentRequest.parse(peek_payload(envelope)).nonce),
        ).fetchone()
        if known and known[2] == envelope:
            return self.grant(site, *known[:2])
        if known:
            raise ReplayedError(
                "renewal",
                got="a nonce that another request used",
                expected="a new one",
                do="keep the first",
            )
        request = open_envelope(
            envelope, EnrolmentRequest, KeyRing((current,)), role=KeyRole.SITE, site=site
        ).statement
        request.check_time(datetime.now(UTC))
        request.check_audience(COORDINATOR)
        if (request.site, request.statement_key) != (site, current.public):
            raise WrongAudienceError(
                "renewal",
                got="a request about another site or key than its signer's",
                expected="the site's own",
                do="refuse it",
            )
        root = self._root(request.ca_sha256)
        certificate = certify_site(self._home, request.csr_pem, site, root=root)
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        with transaction(self._connection):
            self._retire_certificate(site, OVERLAP)
            self._put(site, certificate, pem, root)
            self._connection.execute(
                "INSERT INTO renewal VALUES (?, ?, ?, ?)", (site, request.nonce, envelope, pem)
            )
        return self.grant(site, request.nonce, pem)

    def former(self, site: str) -> tuple[KeyRecord, ...]:
        """Return the keys that a site signed with before."""
        return self.all_former(site).get(site, ())

    def all_former(self, named: str | None = None) -> Mapping[str, tuple[KeyRecord, ...]]:
        """Return the keys that sites, or the one named, signed with before; oldest first."""
        rows = self._connection.execute(
            "SELECT site, public, not_before, not_after, ended_at FROM former_key"
            " WHERE ?1 IS NULL OR site = ?1 ORDER BY not_before, public",
            (named,),
        )
        found: dict[str, tuple[KeyRecord, ...]] = {}
        for site, public, not_before, not_after, ended_at in rows.fetchall():
            record = KeyRecord(
                role=KeyRole.SITE,
                site=site,
                public=public,
                not_before=datetime.fromisoformat(not_before),
                not_after=datetime.fromisoformat(not_after),
                ended_at=None if ended_at is None else datetime.fromisoformat(ended_at),
            )
            found[site] = (*found.get(site, ()), record)
        return found

    def at_the_doors(self) -> tuple[tuple[str, str, bytes, str | None], ...]:
        """Name, certificate sha256, transport key and root of all that are not revoked.

        A site whose certificate waits for its successor comes twice, the one that holds last.
        """
        rows = self._connection.execute(
            "SELECT site, f.sha256, f.transport_key, f.root, 0 FROM former_certificate f"
            " JOIN site ON name = site WHERE revoked_at IS NULL AND ends_at > ?"
            " UNION ALL SELECT name, certificate_sha256, transport_key, root, 1 FROM site"
            " WHERE revoked_at IS NULL ORDER BY 1, 5",
            (datetime.now(UTC).isoformat(),),
        )
        return tuple(
            (site, sha256, key.encode(), root) for site, sha256, key, root, _ in rows.fetchall()
        )

    def succeeded(self, site: str) -> None:
        """End a site's former certificates: the new one was seen at a door."""
        waiting = self._connection.execute(
            "SELECT 1 FROM former_certificate WHERE site = ?", (site,)
        ).fetchone()
        if waiting:
            with transaction(self._connection):
                self._connection.execute("DELETE FROM former_certificate WHERE site = ?", (site,))

    def end_all(self, site: str) -> None:
        """End everything that a site held: it enrols anew. Inside the caller's transaction."""
        row = self._row(site)
        if row is not None:
            now = datetime.now(UTC)
            record = self._record(site, *row)
            self._retire_key(
                record.model_copy(
                    update={"ended_at": now, "not_after": max(now, record.not_before)}
                )
            )
        self._connection.execute("DELETE FROM former_certificate WHERE site = ?", (site,))

    def _row(self, site: str) -> tuple[str, str] | None:
        row: tuple[str, str] | None = self._connection.execute(
            "SELECT statement_key, COALESCE(key_since, enrolled_at) FROM site WHERE name = ?",
            (site,),
        ).fetchone()
        return row

    def _record(self, site: str, public: str, since: str) -> KeyRecord:
        return current_record(site, public, datetime.fromisoformat(since))

    def _current(self, site: str) -> KeyRecord:
        revoked = self._connection.execute(
            "SELECT revoked_at FROM site WHERE name = ?", (site,)
        ).fetchone()
        row = self._row(site)
        if row is None or revoked[0] is not None:
            raise InputError(
                "site",
                got="one that is revoked, or was never enrolled",
                expected="an enrolled site",
                do="invite it: its old keys open nothing any more",
            )
        return self._record(site, *row)

    def _refuse_known_key(self, public: str) -> None:
        used = self._connection.execute(
            "SELECT 1 FROM site WHERE statement_key = ? UNION ALL"
            " SELECT 1 FROM former_key WHERE public = ?",
            (public, public),
        ).fetchone()
        if used:
            raise ReplayedError(
                "key change",
                got="a new key that a site signed with before",
                expected="one that was never used",
                do="draw another",
            )

    def _root(self, wanted: str | None) -> str:
        """Say which root's certificate a site can check: the last one that it knows of."""
        both = overlap(self._home)
        if both is not None and wanted == both.new_sha256:
            return "ca.next"
        if wanted == certificate_sha256(self._home.key("ca.crt").read_text()):
            return "ca"
        raise WrongAudienceError(
            "certificate request",
            got="a site that knows another root",
            expected="this coordinator's",
            do="let the site fetch or import the change of the root first",
        )

    def _retire_key(self, record: KeyRecord) -> None:
        ended = None if record.ended_at is None else record.ended_at.isoformat()
        self._connection.execute(
            "INSERT OR REPLACE INTO former_key VALUES (?, ?, ?, ?, ?)",
            (
                record.site,
                record.public,
                record.not_before.isoformat(),
                record.not_after.isoformat(),
                ended,
            ),
        )

    def _retire_certificate(self, site: str, lasts: timedelta) -> None:
        ends = (datetime.now(UTC) + lasts).isoformat()
        self._connection.execute(
            "INSERT OR REPLACE INTO former_certificate"
            " SELECT certificate_sha256, name, transport_key, root, ? FROM site WHERE name = ?",
            (ends, site),
        )

    def _put(self, site: str, certificate: x509.Certificate, pem: str, root: str) -> None:
        transport = certificate.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        root_sha256 = certificate_sha256(self._home.key(f"{root}.crt").read_text())
        self._connection.execute(
            "UPDATE site SET certificate_sha256 = ?, transport_key = ?, root = ? WHERE name = ?",
            (certificate_sha256(pem), transport.decode(), root_sha256, site),
        )

    def grant(self, site: str, nonce: str, pem: str) -> bytes:
        """Sign the answer that carries a site's certificate."""
        now = datetime.now(UTC)
        grant = EnrolmentGrant(
            audience=(site,),
            issued_at=now,
            not_after=now + timedelta(hours=GRANT_HOURS),
            site=site,
            nonce=nonce,
            certificate_pem=pem,
            study_keys=tuple(
                record.public
                for record in believed_keys(self._home)
                if record.role is KeyRole.STUDY
            )[-_NAMED:],
        )
        return sign(grant, signing_key(self._home, "coordinator"))


def current_record(site: str, public: str, since: datetime) -> KeyRecord:
    """Return the record of a key that a site has signed with since a moment."""
    return KeyRecord(
        role=KeyRole.SITE,
        site=site,
        public=public,
        not_before=since - KEY_SKEW,
        not_after=since + KEY_LIFE,
    )
