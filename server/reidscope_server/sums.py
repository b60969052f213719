"""Secure sums as the coordinator keeps them: keys, lists, masked tables, and what is told to sites.

The coordinator adds up and learns nothing else: no table of one site ever stands here without its
masks. What happens next is decided in `sum_steps`; signatures are checked with the study's roster.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign
from reidscope_protocols.errors import (
    AdmissionError,
    NotReadyError,
    ReplayedError,
    StatementError,
)
from reidscope_protocols.secure_sum import (
    MaskedRelease,
    Participants,
    SumKeys,
    SumRound,
    open_sum_keys,
    participants,
    peek_site,
)
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.config import ServerHome
from reidscope_server.key_files import signing_key
from reidscope_server.sites import Sites
from reidscope_server.store import timestamp, transaction
from reidscope_server.sum_admission import admit_masked, noise_of
from reidscope_server.sum_steps import Phase, Step, SumView, next_step
from reidscope_server.summed import add_up

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SumAttempt:
    """One attempt.

    Attributes
    ----------
    since : datetime
        When its first key came, or when it entered its phase.
    listed : bytes or None
        The signed list of participants, once made.
    told : bytes or None
        The last signed word to the sites about it.
    """

    number: int
    phase: Phase
    since: datetime
    listed: bytes | None
    told: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SumSite:
    """What one site has given to the current attempt."""

    phase: Phase
    listed: bool
    keys: bool
    masked: bool

    @property
    def owes(self) -> bool:
        """Whether the site itself has something to say now."""
        return not self.keys if self.phase is Phase.KEYS else self.listed and not self.masked

    @property
    def waits_for(self) -> str:
        """Who has to do something before the site's part is over; nobody if empty."""
        if self.phase is Phase.KEYS:
            others = "the other sites: this one gave its keys"
            return others if self.keys else "the agent: approved, no keys yet"
        if self.phase is Phase.SUM and self.listed:
            others = "the other participants: this one's masked tables are here"
            return others if self.masked else "the agent: participant, no masked tables yet"
        return ""


class Sums:
    """The secure sums inside one open database."""

    def __init__(self, connection: sqlite3.Connection, home: ServerHome, sites: Sites) -> None:
        self._connection = connection
        self._home = home
        self._sites = sites
        self._checked: dict[bytes, Participants] = {}

    def current(self, study_sha256: str) -> SumAttempt:
        """Return the latest attempt; the first one begins by itself."""
        row = self._connection.execute(
            "SELECT attempt, phase, since, listed, told FROM sum_attempt WHERE study_sha256 = ?"
            " ORDER BY attempt DESC LIMIT 1",
            (study_sha256,),
        ).fetchone()
        if row is None:
            now = datetime.now(UTC)
            return SumAttempt(number=1, phase=Phase.KEYS, since=now, listed=None, told=None)
        return SumAttempt(
            number=row[0],
            phase=Phase(row[1]),
            since=datetime.fromisoformat(row[2]),
            listed=row[3],
            told=row[4],
        )

    def take_keys(self, envelope: bytes, study: Opened[Study], site: str) -> None:
        """Admit a site's keys for the current attempt; the same bytes again change nothing.

        Raises
        ------
        StatementError
            Not signed by the roster's key, or for another attempt.
        AdmissionError
            In another site's name, or other keys than before.
        """
        attempt = self.current(study.sha256)
        opened = open_sum_keys(study, noise_of(study), attempt.number, envelope)
        if opened.statement.site != site:
            raise AdmissionError(
                "sum keys", got="another site's", expected="its own", do="refuse them"
            )
        held = self._keys(study.sha256, attempt.number).get(site)
        if held is not None and held != envelope:
            raise ReplayedError(
                "sum keys",
                got="other keys than the stored ones",
                expected="one key a site and attempt",
                do="keep the first and ask the site",
            )
        if held is not None or attempt.phase is not Phase.KEYS:
            return
        others = self._keys(study.sha256, attempt.number).values()
        if any(_public_key(other) == opened.statement.x25519 for other in others):
            raise ReplayedError(
                "sum keys",
                got="a key that another site gave",
                expected="a key of its own",
                do="ask both sites: every site would refuse such a list",
            )
        is_first = not others
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO sum_key VALUES (?, ?, ?, ?)",
                (study.sha256, attempt.number, site, envelope),
            )
            self._connection.execute(
                "INSERT OR IGNORE INTO sum_attempt VALUES (?, ?, ?, ?, NULL, NULL)",
                (study.sha256, attempt.number, Phase.KEYS, timestamp()),
            )
            if is_first:  # the wait for the others begins with the first key
                self._connection.execute(
                    "UPDATE sum_attempt SET since = ? WHERE study_sha256 = ? AND attempt = ?",
                    (timestamp(), study.sha256, attempt.number),
                )

    def take_masked(
        self, envelope: bytes, study: Opened[Study], site: str, verdict: str | None
    ) -> Opened[MaskedRelease] | None:
        """Admit a site's masked tables for the current list; None if they are here already.

        Raises
        ------
        StatementError, AdmissionError
            Not this round's, not this site's, or not as the study asks.
        """
        for ring in (self._sites.ring(), noise_of(study).ring):  # enrolled still, and believed
            opened = open_envelope(envelope, MaskedRelease, ring, role=KeyRole.SITE, site=site)
        held = self.masked(study.sha256).get(site)
        if held == envelope:
            return None
        attempt = self.current(study.sha256)
        if attempt.phase is not Phase.SUM or held is not None:
            raise ReplayedError(
                "masked release",
                got="one for a round that is over, or another one than the stored",
                expected="one for the current round",
                do="keep what is stored",
            )
        admit_masked(opened, study, self.listed(study), verdict=verdict, now=datetime.now(UTC))
        return opened

    def store_masked(self, opened: Opened[MaskedRelease]) -> None:
        """Keep masked tables that were admitted; inside the caller's transaction."""
        said = opened.statement
        self._connection.execute(
            "INSERT INTO masked VALUES (?, ?, ?, ?, ?)",
            (said.study_sha256, said.attempt, said.site, opened.envelope, timestamp()),
        )

    def listed(self, study: Opened[Study]) -> Participants:
        """Return the participants of the current attempt, checked again.

        Raises
        ------
        NotReadyError
            They are not known yet.
        """
        attempt = self.current(study.sha256)
        if attempt.listed is None:
            raise NotReadyError(
                "secure sum",
                got="no list of participants",
                expected="keys of enough sites",
                do="look at `reidscope-server study status`",
            )
        of = self._checked.get(attempt.listed)
        if of is None:  # five hundred signatures: once a list, not once a site
            keys = (text.encode() for text in _parsed(attempt.listed).keys)
            of = participants(study, noise_of(study), attempt.number, keys)
            self._checked = {attempt.listed: of}
        return of

    def masked(self, study_sha256: str) -> dict[str, bytes]:
        """Return the masked tables of the current attempt, by site."""
        rows = self._connection.execute(
            "SELECT site, envelope FROM masked WHERE study_sha256 = ? AND attempt = ?"
            " ORDER BY site",
            (study_sha256, self.current(study_sha256).number),
        )
        return dict(rows.fetchall())

    def finished(self, study_sha256: str) -> tuple[SumAttempt, dict[str, bytes]] | None:
        """Return the attempt that was added up, with its masked tables; None before that."""
        attempt = self.current(study_sha256)
        return (attempt, self.masked(study_sha256)) if attempt.phase is Phase.DONE else None

    def sites(self, study: Opened[Study]) -> dict[str, SumSite]:
        """Return what each site of a study has given to the current attempt."""
        attempt = self.current(study.sha256)
        listed = _listed_sites(attempt.listed)
        keys = self._names("sum_key", study.sha256, attempt.number)
        masked = self._names("masked", study.sha256, attempt.number)
        return {
            site: SumSite(
                phase=attempt.phase,
                listed=site in listed,
                keys=site in keys,
                masked=site in masked,
            )
            for site in study.statement.audience
        }

    def rounds_for(self, site: str, studies: tuple[Opened[Study], ...]) -> tuple[bytes, ...]:
        """Return the last word about each secure sum that asks a site."""
        asked = (study for study in studies if site in study.statement.audience)
        return tuple(envelope for study in asked for envelope in self.words_of(study))

    def words_of(self, study: Opened[Study]) -> tuple[bytes, ...]:
        """Return the last signed word about a study's secure sum, none before the first."""
        told = self.current(study.sha256).told if study.statement.noise else None
        return () if told is None else (told,)

    def advance(
        self, study: Opened[Study], *, able: frozenset[str], lost: frozenset[str], say: Say
    ) -> None:
        """Do what is due for a study's secure sum.

        Parameters
        ----------
        able, lost : frozenset of str
            See `SumView`.
        """
        noise, attempt = noise_of(study), self.current(study.sha256)
        now = datetime.now(UTC)
        view = SumView(
            attempt=attempt.number,
            attempts=noise.attempts,
            phase=attempt.phase,
            minimum_sites=study.statement.minimum_sites,
            wait=timedelta(minutes=noise.wait_minutes),
            able=able,
            lost=lost,
            given=self._names("sum_key", study.sha256, attempt.number),
            listed=_listed_sites(attempt.listed),
            masked=self._names("masked", study.sha256, attempt.number),
            waited=now - attempt.since,
        )
        name, step = study.statement.study_id, next_step(view)
        if step is Step.LIST:
            self._list(study, view, say)
        elif step is Step.ADD_UP:
            self._add_up(study, attempt.number, say)
        elif step is Step.AGAIN:
            self._tell(study, attempt.number + 1, Phase.KEYS)
            say(f"{name}: attempt {attempt.number} of the secure sum failed; the next one begins")
        elif step is Step.GIVE_UP:
            self._tell(study, attempt.number, Phase.FAILED)
            say(f"{name}: the last attempt of the secure sum failed; nothing was learnt")

    def said(self, study: Opened[Study]) -> str:
        """Say in a line where a study's secure sum stands."""
        attempt, noise = self.current(study.sha256), noise_of(study)
        keys = self._names("sum_key", study.sha256, attempt.number)
        masked = self._names("masked", study.sha256, attempt.number)
        where = {
            Phase.KEYS: f"{len(keys)} of {len(study.statement.audience)} sites gave keys",
            Phase.SUM: f"{len(masked)} of {len(_listed_sites(attempt.listed))} participants"
            " sent masked tables",
            Phase.DONE: f"added up over {len(masked)} sites",
            Phase.SPOILED: "added up to counts that no such sites can have: ask the sites",
            Phase.FAILED: "a participant dropped out of the last attempt",
        }[attempt.phase]
        return f"attempt {attempt.number} of {noise.attempts}, {attempt.phase}: {where}"

    def _list(self, study: Opened[Study], view: SumView, say: Say) -> None:
        keys = self._keys(study.sha256, view.attempt)
        chosen = [keys[site] for site in sorted(view.given & view.able)]
        try:
            # Checked before it is signed, as every site will.
            of = participants(study, noise_of(study), view.attempt, chosen)
        except StatementError as error:
            self._tell(study, view.attempt, Phase.FAILED)
            say(f"{study.statement.study_id}: {error}")
            return
        listed = tuple(of.envelopes.values())
        self._tell(study, view.attempt, Phase.SUM, keys=listed)
        say(f"{study.statement.study_id}: {len(listed)} sites take part in the secure sum")

    def _add_up(self, study: Opened[Study], number: int, say: Say) -> None:
        name, ring = study.statement.study_id, noise_of(study).ring
        try:
            masked = {
                site: open_envelope(envelope, MaskedRelease, ring, role=KeyRole.SITE, site=site)
                for site, envelope in self.masked(study.sha256).items()
            }
            add_up(study, self.listed(study), masked)
        except (AdmissionError, StatementError) as error:
            self._tell(study, number, Phase.SPOILED)
            say(f"{name}: {error}")
        else:
            self._tell(study, number, Phase.DONE)
            say(f"{name}: the secure sum over {len(masked)} sites is known")

    def _tell(
        self,
        study: Opened[Study],
        number: int,
        phase: Phase,
        *,
        keys: tuple[bytes, ...] = (),
    ) -> None:
        """Enter a phase, and sign what the sites are told about it."""
        told = SumRound(
            audience=study.statement.audience,
            issued_at=datetime.now(UTC),
            not_after=study.statement.not_after,
            study_sha256=study.sha256,
            attempt=number,
            phase="done" if phase.is_final else "sum" if phase is Phase.SUM else "keys",
            keys=tuple(key.decode() for key in keys),
        )
        envelope = sign(told, signing_key(self._home, "coordinator"))
        listed = envelope if phase is Phase.SUM else self.current(study.sha256).listed
        if phase is Phase.KEYS:
            listed = None
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO sum_attempt VALUES (?, ?, ?, ?, ?, ?)",
                (study.sha256, number, phase, timestamp(), listed, envelope),
            )
            # Who was lost to the attempt before may answer this one.
            self._connection.execute(
                "DELETE FROM standing WHERE study_sha256 = ? AND word = 'lost'", (study.sha256,)
            )

    def _names(self, table: str, study_sha256: str, attempt: int) -> frozenset[str]:
        rows = self._connection.execute(
            # Safety: `table` is one of two constants of this class.
            f"SELECT site FROM {table} WHERE study_sha256 = ? AND attempt = ?",  # noqa: S608
            (study_sha256, attempt),
        )
        return frozenset(name for (name,) in rows)

    def _keys(self, study_sha256: str, attempt: int) -> dict[str, bytes]:
        rows = self._connection.execute(
            "SELECT site, envelope FROM sum_key WHERE study_sha256 = ? AND attempt = ?"
            " ORDER BY site",
            (study_sha256, attempt),
        )
        return dict(rows.fetchall())


def _parsed(envelope: bytes) -> SumRound:
    """Read a list that this coordinator signed itself."""
    return SumRound.parse(peek_payload(envelope))


def _public_key(envelope: bytes) -> str:
    return SumKeys.parse(peek_payload(envelope)).x25519


@lru_cache(maxsize=8)
def _listed_sites(listed: bytes | None) -> frozenset[str]:
    if listed is None:
        return frozenset()
    return frozenset(peek_site(text.encode()) for text in _parsed(listed).keys)
