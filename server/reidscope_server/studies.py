"""Studies that are open, and what came in for each: decisions, standings, releases, receipts."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from reidscope_protocols.durable import write_durably
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign
from reidscope_protocols.errors import (
    AdmissionError,
    ConstantMismatchError,
    InputError,
    MalformedError,
    ReplayedError,
)
from reidscope_protocols.keys import KeyRing
from reidscope_protocols.reopened import reopened
from reidscope_protocols.secure_sum import MaskedRelease, SumKeys
from reidscope_protocols.statements import Decision, Receipt, Release
from reidscope_protocols.study import SiteHead, Study
from reidscope_protocols.vocabulary import SYNTHETIC, KeyRole, Verdict
from reidscope_server.admission import (
    Approved,
    AsAsked,
    NotAnotherOne,
    OfThisStudy,
    Plausible,
    ReleasePolicy,
    WithinItsDates,
    admit,
    admit_decision,
)
from reidscope_server.config import ServerHome
from reidscope_server.key_files import check_apart, signing_key
from reidscope_server.own_keys import believed_keys, own_keys
from reidscope_server.poison import against_poison
from reidscope_server.roster import check_roster
from reidscope_server.sites import Sites
from reidscope_server.store import timestamp, transaction
from reidscope_server.sum_steps import Phase
from reidscope_server.sums import Sums, SumSite

_PUBLIC = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStanding:
    """Where one site is with one study; `summed` is its part in a secure sum, if it is one."""

    site: str
    decision: str
    word: str
    released: bool
    heard_at: str
    closed: bool = False
    summed: SumSite | None = None

    @property
    def owes(self) -> bool:
        """Whether the site is to be asked in a round."""
        return not self.finished and (self.summed is None or self.summed.owes)

    @property
    def finished(self) -> bool:
        """Whether nothing more can be expected of the site."""
        return not self.waits_for

    @property
    def waits_for(self) -> str:
        """Who has to do something before the site has answered for good; nobody if empty."""
        declined = self.decision in {"declined", "withdrawn"}
        if self.released or declined or self.closed:
            return ""
        if self.summed is not None and (self.decision != "none yet" or not self.summed.waits_for):
            return self.summed.waits_for
        if self.word == "lost":
            return ""
        if self.word == "refused":
            return "people of both: its release was refused"
        if self.decision != "none yet":
            return "the agent: approved, not released"
        return "a person: no decision yet" if self.heard_at else "the agent: not heard yet"


class Studies:
    """The studies inside one open database."""

    def __init__(self, connection: sqlite3.Connection, home: ServerHome, sites: Sites) -> None:
        self._connection = connection
        self._home = home
        self._sites = sites
        self._parsed: dict[tuple[str, str], Release] = {}
        self.sums = Sums(connection, home, sites)

    def open(self, envelope: bytes, constants: Mapping[str, bytes]) -> Opened[Study]:
        """Open a signed study to its sites, with the public files that they may fetch.

        Parameters
        ----------
        envelope : bytes
            Signed by this coordinator's study key.
        constants : mapping of str to bytes
            Files by their sha256; those that sites have installed need not be here.

        Raises
        ------
        StatementError
            Not signed by the study key, malformed, or out of date.
        InputError
            Another study with the same id is open; or a secure sum's roster is not that of the
            sites' keys.
        PolicyRefusalError
            It is about people, and the home's keys lie open in it.
        """
        ring = KeyRing(believed_keys(self._home))
        study = open_envelope(envelope, Study, ring, role=KeyRole.STUDY)
        study.statement.check_time(datetime.now(UTC))
        if study.statement.population != SYNTHETIC:
            check_apart(self._home)
        known = {constant.sha256 for constant in study.statement.constants}
        for sha256, content in constants.items():
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ConstantMismatchError(
                    "constant", got="another sha256", expected=sha256[:16], do="build it again"
                )
            if sha256 not in known:
                raise ConstantMismatchError(
                    "constants folder",
                    got=f"a file with sha256 {sha256[:16]}... that the study does not name",
                    expected="the very files that the study was drafted with",
                    do="name the folder that `study new` was given",
                )
        same = self._connection.execute(
            "SELECT sha256 FROM study WHERE study_id = ?", (study.statement.study_id,)
        ).fetchone()
        if same and same[0] != study.sha256:
            raise InputError(
                "study",
                got="another study with the same id",
                expected="an id that was never used",
                do="choose another id: a study never changes once it is open",
            )
        if not same:  # one that is open stays open when a site changes its key
            check_roster(study.statement, self._sites.every())
        for sha256, content in constants.items():
            write_durably(self._home.constants / sha256, content, mode=_PUBLIC)
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO study (sha256, study_id, envelope, opened_at)"
                " VALUES (?, ?, ?, ?)",
                (study.sha256, study.statement.study_id, envelope, timestamp()),
            )
        return study

    def every(self) -> tuple[Opened[Study], ...]:
        """Return all studies that were ever opened."""
        ring = KeyRing(own_keys(self._home))
        rows = self._connection.execute("SELECT envelope FROM study ORDER BY opened_at")
        return tuple(reopened(envelope, ring) for (envelope,) in rows.fetchall())

    def find(self, word: str) -> Opened[Study]:
        """Find a study by its id or by the first digits of its sha256."""
        fitting = [
            study
            for study in self.every()
            if study.statement.study_id == word or (word and study.sha256.startswith(word))
        ]
        if len(fitting) != 1:
            raise MalformedError(
                "study",
                got=f"a name that fits {len(fitting)} open studies",
                expected="the id or the first digits of the sha256 of one",
                do="look at `reidscope-server study status`",
            )
        return fitting[0]

    def envelopes_for(self, site: str) -> tuple[bytes, ...]:
        """Return every study that asks a site and still holds."""
        now = datetime.now(UTC)
        return tuple(
            study.envelope
            for study in self.every()
            if site in study.statement.audience and now <= study.statement.not_after
        )

    def set_collecting(self, study_sha256: str, *, collecting: bool) -> None:
        """Start or end the rounds of a study."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE study SET collecting = ? WHERE sha256 = ?", (collecting, study_sha256)
            )

    def collecting(self) -> tuple[Opened[Study], ...]:
        """Return studies whose rounds go on, before their closing time."""
        rows = self._connection.execute("SELECT sha256 FROM study WHERE collecting = 1")
        wanted = {sha256 for (sha256,) in rows.fetchall()}
        now = datetime.now(UTC)
        return tuple(
            study
            for study in self.every()
            if study.sha256 in wanted and now <= study.statement.closes_at
        )

    def take_decision(self, envelope: bytes, site: str) -> None:
        """Admit a site's decision; bytes that were admitted before change nothing."""
        if self._connection.execute(
            "SELECT 1 FROM decision WHERE site = ? AND envelope = ?", (site, envelope)
        ).fetchone():
            # Its key may have ended since.
            return
        decision = open_envelope(
            envelope, Decision, self._sites.ring(site), role=KeyRole.SITE, site=site
        )
        study = self.find(decision.statement.study_sha256)
        said = decision.statement
        # Looked up and written in one: the control service answers several calls at once.
        with transaction(self._connection):
            known = self._connection.execute(
                "SELECT envelope FROM decision WHERE study_sha256 = ? AND site = ? AND nonce = ?",
                (study.sha256, site, said.nonce),
            ).fetchone()
            if known and known[0] == envelope:
                return
            if known:
                raise ReplayedError(
                    "decision",
                    got="a nonce that another decision used",
                    expected="a new one",
                    do="keep the first",
                )
            last = self._connection.execute(
                "SELECT MAX(issued_at) FROM decision WHERE study_sha256 = ? AND site = ?",
                (study.sha256, site),
            ).fetchone()[0]
            latest = datetime.fromisoformat(last) if last else None
            admit_decision(decision, study, latest=latest, now=datetime.now(UTC))
            self._connection.execute(
                "INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?)",
                (
                    study.sha256,
                    site,
                    said.nonce,
                    said.issued_at.astimezone(UTC).isoformat(),
                    said.verdict,
                    envelope,
                ),
            )

    def take_release(self, envelope: bytes, site: str) -> None:
        """Admit a site's release, store it, and write a receipt for its ledger head."""
        if self._connection.execute(
            "SELECT 1 FROM release WHERE site = ? AND envelope = ?", (site, envelope)
        ).fetchone():
            # Its key may have ended since.
            return
        release = open_envelope(
            envelope, Release, self._sites.ring(site), role=KeyRole.SITE, site=site
        )
        study = self.find(release.statement.study_sha256)
        stored = self.release_of(study.sha256, site)
        policies: tuple[ReleasePolicy, ...] = (
            OfThisStudy(),
            WithinItsDates(datetime.now(UTC)),
            Approved(self._verdict(study.sha256, site)),
            AsAsked(),
            Plausible(),
            NotAnotherOne(stored),
            *self._against_poison(study.sha256, site),
        )
        if stored == envelope:
            return
        admit(release, study, policies)
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO release VALUES (?, ?, ?, ?)",
                (study.sha256, site, envelope, timestamp()),
            )
            self._write_receipt(release.statement, study)

    def _against_poison(self, study_sha256: str, site: str) -> tuple[ReleasePolicy, ...]:
        decision = self.last_decision(study_sha256, site)
        return against_poison(
            Decision.parse(peek_payload(decision)) if decision else None, self._every_release()
        )

    def _every_release(self) -> Collection[Release]:
        """Every stored release; each is parsed once, however many come after it."""
        rows = self._connection.execute("SELECT study_sha256, site FROM release").fetchall()
        for key in rows:
            if key not in self._parsed:
                envelope = self.release_of(*key)
                self._parsed[key] = Release.parse(peek_payload(envelope or b""))
        return self._parsed.values()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep what is taken in the block with one commit: nothing of it where that fails."""
        with transaction(self._connection):
            yield

    def take_sum_keys(self, envelope: bytes, site: str) -> None:
        """Admit a site's keys for a secure sum; only of a site whose last word is a yes."""
        study = self.find(SumKeys.parse(peek_payload(envelope)).study_sha256)
        if self._verdict(study.sha256, site) != Verdict.APPROVED:
            raise AdmissionError(
                "sum keys",
                got="no approval of this site",
                expected="a signed approval before them",
                do="import the site's decision first, or ask the site",
            )
        self.sums.take_keys(envelope, study, site)

    def take_masked(self, envelope: bytes, site: str) -> None:
        """Admit a site's masked tables, store them, and write a receipt for its ledger head."""
        study = self.find(MaskedRelease.parse(peek_payload(envelope)).study_sha256)
        verdict = self._verdict(study.sha256, site)
        opened = self.sums.take_masked(envelope, study, site, verdict)
        if opened is None:
            return
        with transaction(self._connection):
            self.sums.store_masked(opened)
            self._write_receipt(opened.statement, study)

    def advance(self, study: Opened[Study], say: Callable[[str], None]) -> None:
        """Do what is due for a study's secure sum."""
        enrolled = {site.name for site in self._sites.every() if not site.revoked}
        standings = self.standings(study)
        no = {"declined", "withdrawn"}
        self.sums.advance(
            study,
            able=frozenset(s.site for s in standings if s.decision not in no) & enrolled,
            lost=frozenset(s.site for s in standings if s.word == "lost"),
            say=say,
        )

    def hear(self, study_sha256: str, site: str, word: str) -> None:
        """Note the constant word that a site answered with."""
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?)",
                (study_sha256, site, word, timestamp()),
            )

    def standings(self, study: Opened[Study]) -> tuple[SiteStanding, ...]:
        """Return where every site of a study is."""
        closed = datetime.now(UTC) > study.statement.closes_at
        summed = self.sums.sites(study) if study.statement.noise is not None else {}
        heard = self._of_sites("word, heard_at", "standing", study)
        words = {site: said for site, *said in heard}
        released = {site for (site,) in self._of_sites("", "release", study)}
        # In order of their time: the last one holds.
        decided = self._of_sites("verdict", "decision", study, "ORDER BY issued_at")
        verdicts = {row[0]: row[1] for row in decided}
        nothing = ("not heard", "")
        return tuple(
            SiteStanding(
                site=site,
                decision=verdicts.get(site) or "none yet",
                word=words.get(site, nothing)[0],
                released=site in released
                if site not in summed
                else summed[site].phase is Phase.DONE and summed[site].listed,
                heard_at=words.get(site, nothing)[1],
                closed=closed,
                summed=summed.get(site),
            )
            for site in study.statement.audience
        )

    def _of_sites(
        self, columns: str, table: str, study: Opened[Study], order: str = ""
    ) -> list[tuple[str, ...]]:
        """Read a table for all sites at once: 500 sites are asked about every second."""
        named = f"site, {columns}" if columns else "site"
        return self._connection.execute(
            f"SELECT {named} FROM {table} WHERE study_sha256 = ? {order}",  # noqa: S608  # constant words
            (study.sha256,),
        ).fetchall()

    def release_of(self, study_sha256: str, site: str) -> bytes | None:
        """Return a stored release's bytes."""
        row = self._connection.execute(
            "SELECT envelope FROM release WHERE study_sha256 = ? AND site = ?",
            (study_sha256, site),
        ).fetchone()
        return row[0] if row else None

    def last_decision(self, study_sha256: str, site: str) -> bytes | None:
        """Return a site's latest decision's bytes."""
        row = self._connection.execute(
            "SELECT envelope FROM decision WHERE study_sha256 = ? AND site = ?"
            " ORDER BY issued_at DESC LIMIT 1",
            (study_sha256, site),
        ).fetchone()
        return row[0] if row else None

    def receipts_for(self, site: str) -> tuple[bytes, ...]:
        """Return every receipt for a site, oldest first."""
        rows = self._connection.execute(
            "SELECT envelope FROM receipt WHERE site = ? ORDER BY counter", (site,)
        )
        return tuple(envelope for (envelope,) in rows.fetchall())

    def _verdict(self, study_sha256: str, site: str) -> str | None:
        row = self._connection.execute(
            "SELECT verdict FROM decision WHERE study_sha256 = ? AND site = ?"
            " ORDER BY issued_at DESC LIMIT 1",
            (study_sha256, site),
        ).fetchone()
        return row[0] if row else None

    def heads(self, sites: Iterable[str]) -> tuple[SiteHead, ...]:
        """Where each site's ledger stood when it was last seen; none before its first release."""
        ring = KeyRing(own_keys(self._home))
        found = []
        for site in sorted(sites):
            row = self._connection.execute(
                "SELECT envelope FROM receipt WHERE site = ? ORDER BY counter DESC LIMIT 1", (site,)
            ).fetchone()
            if row is not None:
                receipt = open_envelope(row[0], Receipt, ring, role=KeyRole.COORDINATOR).statement
                found.append(SiteHead(site=site, ledger=receipt.ledger))
        return tuple(found)

    def _write_receipt(self, release: Release | MaskedRelease, study: Opened[Study]) -> None:
        (last,) = self._connection.execute(
            "SELECT COALESCE(MAX(counter), 0) FROM receipt WHERE site = ?", (release.site,)
        ).fetchone()
        receipt = Receipt(
            audience=(release.site,),
            issued_at=datetime.now(UTC),
            not_after=study.statement.not_after,
            study_sha256=study.sha256,
            site=release.site,
            ledger=release.ledger,
            counter=last + 1,
        )
        key = signing_key(self._home, "coordinator")
        self._connection.execute(
            "INSERT INTO receipt VALUES (?, ?, ?, ?)",
            (release.site, last + 1, study.sha256, sign(receipt, key)),
        )
