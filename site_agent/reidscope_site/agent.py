"""One open home: the site's stores and keys, and the verbs that need no image.

What is not here: reading data (`indexing`, `measuring`), the command line (`cli`), the wire
(`control`, `flower`, `enrol`), and the loop that runs it all (`serve`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from reidscope_deid.keys import SiteKey, load_key
from reidscope_protocols.database import fold_log
from reidscope_protocols.envelope import Opened, open_envelope
from reidscope_protocols.errors import MalformedError, PolicyRefusalError, WrongAudienceError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import Receipt
from reidscope_protocols.study import Constant, Study
from reidscope_protocols.vocabulary import SYNTHETIC, DecisionReason, KeyRole, Verdict
from reidscope_site.allowed import check_allowed
from reidscope_site.config import Home, Policy
from reidscope_site.consent import Consent
from reidscope_site.constants import Constants
from reidscope_site.face.external.program import programs_of
from reidscope_site.following import follow, refuse_ended
from reidscope_site.installed import installed_constants
from reidscope_site.journal import Event, Journal
from reidscope_site.key_source import check_apart
from reidscope_site.ledger import Ledger
from reidscope_site.outbox import Outbox
from reidscope_site.outcomes import erase
from reidscope_site.pinned import PinnedCoordinator
from reidscope_site.roles import Caller, check_role
from reidscope_site.sent import Sent
from reidscope_site.snapshot import Snapshot
from reidscope_site.store import connect, transaction
from reidscope_site.studies import Studies, check_policy
from reidscope_site.study_key import alive, is_destroyed
from reidscope_site.sums import Sums
from reidscope_site.witness import Witness

Progress = Callable[[int, int], None]


class Agent:
    """One open home; use one instance a thread."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.config = home.config()
        self.connection = connect(home.database)
        witness = Witness(Path(self.config.witness)) if self.config.witness else None
        self.ledger = Ledger(self.connection, witness)
        self.journal = Journal(self.connection)
        self.sums = Sums(self.connection, self.config.name)
        self.outbox = Outbox(self.connection)
        opt_outs = Path(self.config.exclude) if self.config.exclude else None
        self.snapshot = Snapshot(self.connection, opt_outs)
        self.sent = Sent(home.sent, days=self.config.sent_days)
        self.consent = Consent(self.connection, self.config.name)
        self.constants = Constants(home.constants, installed_constants())

    @property
    def policy(self) -> Policy:
        """The site's policy, as its file says now: a cap that is lowered binds at once."""
        return self.home.policy()

    @property
    def pinned(self) -> PinnedCoordinator:
        """The coordinator that enrolment pinned, as signed changes left it; read each time."""
        return PinnedCoordinator.load(self.home.coordinator_file)

    @property
    def studies(self) -> Studies:
        """The studies that reached this site."""
        return Studies(self.connection, self.pinned.ring, self.config.name)

    @property
    def site_key(self) -> SiteKey:
        """The key behind pseudonyms, coins and sealed outcomes; read from its file each time."""
        return load_key(self.home.key("site.key"))

    @property
    def statement_key(self) -> StatementKey:
        """The key that signs for this site; read from its file each time."""
        return StatementKey.load(self.home.key("statement.pem"))

    def decide(
        self,
        word: str,
        verdict: Verdict,
        *,
        role: str,
        reason: DecisionReason,
        caller: Caller | None = None,
        signature: str = "",
    ) -> bool:
        """Approve, decline or withdraw a study; see `Consent.decide`.

        Returns
        -------
        bool
            Whether the decision stands; False while another person's approval is needed.
        """
        study = self.studies.find(word)
        if verdict is Verdict.APPROVED:
            self.home.check_not_held()
            self._check_not_wiped(study.sha256)
            self.check_heads(study.statement)
            self.check_policy(study)
        made = self.consent.decide(
            study,
            verdict,
            role=role,
            reason=reason,
            policy=self.policy,
            snapshot_digest=self._bound_index(verdict),
            key=self.statement_key,
            caller=caller,
            signature=signature,
        )
        event = Event.ONE_OF_TWO if made is None else Event(str(verdict))
        self.journal.write(event, study.sha256)
        return made is not None

    def text_to_sign(self, word: str, verdict: Verdict, role: str) -> str:
        """Return the lines that a person signs for a decision, as things stand."""
        study, index = self.studies.find(word), self._bound_index(verdict)
        text = self.consent.text(
            study, verdict, role=role, policy=self.policy, snapshot_digest=index
        )
        return str(text)

    def check_policy(self, study: Opened[Study]) -> None:
        """Raise an error if the study cannot run here, whoever approves it.

        Raises
        ------
        RefusalError
            The site's policy forbids it.
        UnsupportedError
            A program that an arm calls is not installed, or not the one that is described.
        """
        policy = self.policy
        check_policy(
            study.statement, policy, self.ledger, site=self.config.name, sha256=study.sha256
        )
        check_allowed(study, policy, self.pinned)
        programs_of(study.statement.experiment.arms)
        if study.statement.population != SYNTHETIC:
            check_apart(self.home)

    def _check_not_wiped(self, study_sha256: str) -> None:
        if is_destroyed(self.connection, study_sha256) and not self.ledger.charged(study_sha256):
            raise PolicyRefusalError(
                "study",
                got="one whose key was destroyed here",
                expected="one that can still be measured",
                do="count this site as lost to it",
            )

    def _bound_index(self, verdict: Verdict) -> str:
        return self.snapshot.digest() if verdict is Verdict.APPROVED else ""

    def ready_to_run(self) -> tuple[Opened[Study], ...]:
        """Return approved studies that are open, without a release, whose constants are here."""
        now = datetime.now(UTC)
        return tuple(
            study
            for study in self.studies.every()
            if study.statement.opens_at <= now <= study.statement.closes_at
            and self.consent.verdict(study.sha256) is Verdict.APPROVED
            and self._owes(study)
            and not is_destroyed(self.connection, study.sha256)
            and not self.constants.missing(study.statement)
        )

    def has_released(self, study_sha256: str) -> bool:
        """Whether tables of a study were stored: noisy ones, or masked ones of its last attempt."""
        summed = self.sums.current(study_sha256)
        if summed is not None:
            return summed.masked is not None
        return self.ledger.stored(study_sha256) is not None

    def _owes(self, study: Opened[Study]) -> bool:
        """Whether anything is left to do for a study that was approved."""
        if study.statement.noise is None:
            return not self.ledger.charged(study.sha256)
        return self.sums.owes(study, self.ledger)

    def take_receipt(self, envelope: bytes) -> None:
        """Keep a receipt whose counter grows and whose head this ledger holds.

        Raises
        ------
        MalformedError
            Its counter does not grow.
        WrongAudienceError
            It is meant for another site.
        LedgerError
            This ledger lacks the head: the receipt is kept, and nothing is released from now on.
        """
        opened = open_envelope(envelope, Receipt, self.pinned.ring, role=KeyRole.COORDINATOR)
        receipt = opened.statement
        receipt.check_audience(self.config.name)
        if receipt.site != self.config.name:
            raise WrongAudienceError(
                "receipt",
                got="one for another site's ledger",
                expected="one for this site's",
                do="tell the coordinator",
            )
        with transaction(self.connection):
            known = self.connection.execute(
                "SELECT envelope FROM receipt WHERE counter = ?", (receipt.counter,)
            ).fetchone()
            if known and (known[0] == envelope or self._says_the_same(known[0], receipt)):
                return
            refuse_ended(opened, datetime.now(UTC))
            (latest,) = self.connection.execute(
                "SELECT COALESCE(MAX(counter), 0) FROM receipt"
            ).fetchone()
            if receipt.counter <= latest:
                raise MalformedError(
                    "receipt",
                    got="a counter that does not grow",
                    expected=f"one above {latest}",
                    do="compare receipts with the coordinator: somebody shows two histories",
                )
            self.connection.execute(
                "INSERT INTO receipt VALUES (?, ?)", (receipt.counter, envelope)
            )
        self.journal.write(Event.RECEIPT, receipt.study_sha256)
        self.ledger.check_holds(receipt.ledger)

    def _says_the_same(self, envelope: bytes, receipt: Receipt) -> bool:
        """Whether a kept receipt names the study and head of one that was just shown.

        A coordinator that was restored from a backup writes a lost receipt anew: no second history.
        """
        kept = open_envelope(
            envelope, Receipt, self.pinned.ring, role=KeyRole.COORDINATOR
        ).statement
        return (kept.study_sha256, kept.ledger) == (receipt.study_sha256, receipt.ledger)

    def settle(self) -> None:
        """Finish what a killed agent left: the caller holds the home, so nobody is at work.

        Outcomes of a table that was charged have no further use: it was stored, or it is lost.
        """
        for study in self.studies.every():
            if study.statement.noise is not None or not self.ledger.charged(study.sha256):
                continue
            if not is_destroyed(self.connection, study.sha256):
                erase(self.connection, study.sha256)
            stored = self.ledger.stored(study.sha256)
            if stored is not None:
                self.outbox.add("release", study.sha256, stored)
        # An agent that was killed may have left erased pages in the log.
        fold_log(self.connection)

    def wipe(self, word: str, role: str, caller: Caller | None = None) -> str:
        """Destroy a study's key: what was evaluated is gone, and is never evaluated again.

        Returns the study's sha256. Its rounds are answered `lost`, as for a release that was lost.

        Raises
        ------
        PolicyRefusalError
            Not a role's, or not this caller's.
        """
        check_role(self.policy, role, caller or Caller.of_this_process())
        study = self.studies.find(word)
        erase(self.connection, study.sha256)
        self.journal.write(Event.WIPED, study.sha256)
        return study.sha256

    def retire(self) -> None:
        """Destroy the keys of studies that closed without a release: dates alone decide."""
        unreleased = [
            sha256 for sha256 in alive(self.connection) if not self.ledger.charged(sha256)
        ]
        if not unreleased:
            return
        now = datetime.now(UTC)
        for study in self.studies.every():
            if study.sha256 in unreleased and now > study.statement.closes_at:
                erase(self.connection, study.sha256)
                self.journal.write(Event.WIPED, study.sha256)

    def follow(self, envelope: bytes) -> bool:
        """Take a change of the coordinator's keys or roots; see `following`.

        Returns whether it was new.
        """
        before = self.pinned
        after = follow(before, envelope)
        if after == before:
            return False
        after.save(self.home.coordinator_file)
        is_root = after.keys == before.keys
        self.journal.write(Event.ROOT_FOLLOWED if is_root else Event.KEY_FOLLOWED)
        return True

    def check_receipts(self) -> None:
        """Raise LedgerError if the ledger lacks a head that the coordinator has signed for."""
        rows = self.connection.execute("SELECT envelope FROM receipt ORDER BY counter").fetchall()
        for (envelope,) in rows:
            receipt = open_envelope(
                envelope, Receipt, self.pinned.ring, role=KeyRole.COORDINATOR
            ).statement
            self.ledger.check_holds(receipt.ledger)

    def check_heads(self, study: Study) -> None:
        """Raise LedgerError if the ledger lacks a head that a study says was seen of this site."""
        for seen in study.ledger_heads:
            if seen.site == self.config.name:
                self.ledger.check_holds(seen.ledger)

    def adopt(self, role: str, caller: Caller | None = None) -> PrivacyLoss:
        """Go on with a ledger that its witness does not agree with; see `Ledger.adopt`."""
        check_role(self.policy, role, caller or Caller.of_this_process())
        loss = self.ledger.adopt(self.policy)
        self.journal.write(Event.ADOPTED)
        return loss

    def keep_constant(self, content: bytes, constant: Constant) -> None:
        """Keep a public constant that came from outside."""
        self.constants.keep(content, constant)
        self.journal.write(Event.CONSTANT_KEPT)

    def close(self) -> None:
        """Close the database."""
        self.connection.close()
