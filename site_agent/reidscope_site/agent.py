"""The site's verbs, on its own home folder: index, decide, run, hand over.

What is not here: the command line (`cli`), the wire (`control`, `flower`, `enrol`), and the loop
that runs it all (`serve`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reidscope_deid.keys import SiteKey, load_key
from reidscope_protocols.envelope import Opened, open_envelope
from reidscope_protocols.errors import MalformedError, OutcomeMissingError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.statements import Receipt
from reidscope_protocols.study import Constant, Study
from reidscope_protocols.vocabulary import ConstantRole, DecisionReason, KeyRole, Verdict
from reidscope_site import package
from reidscope_site.config import Home
from reidscope_site.consent import Consent
from reidscope_site.constants import Constants
from reidscope_site.installed import installed_constants
from reidscope_site.journal import Event, Journal
from reidscope_site.ledger import Ledger
from reidscope_site.outbox import Outbox
from reidscope_site.outcomes import Outcomes
from reidscope_site.pinned import PinnedCoordinator
from reidscope_site.release import release
from reidscope_site.snapshot import Resolution, Snapshot, resolve
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.links import read_links, refuse_unknown
from reidscope_site.store import connect, transaction
from reidscope_site.studies import Studies, check_policy
from reidscope_site.worker import Task, worker

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What `index` found, for the site's own terminal."""

    resolution: Resolution
    skipped: int


class Agent:
    """One open home; use one instance a thread."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.config = home.config()
        self.policy = home.policy()
        self._connection = connect(home.database)
        self.ledger = Ledger(self._connection)
        self.journal = Journal(self._connection)
        self.outbox = Outbox(self._connection)
        self.snapshot = Snapshot(self._connection)
        self.consent = Consent(self._connection, self.config.name)
        self.constants = Constants(home.constants, installed_constants())

    @cached_property
    def pinned(self) -> PinnedCoordinator:
        """The coordinator that enrolment pinned."""
        return PinnedCoordinator.load(self.home.coordinator_file)

    @cached_property
    def studies(self) -> Studies:
        """The studies that reached this site."""
        return Studies(self._connection, self.pinned.ring, self.config.name)

    @property
    def _key(self) -> SiteKey:
        return load_key(self.home.key("site.key"))

    @property
    def _statement_key(self) -> StatementKey:
        return StatementKey.load(self.home.key("statement.pem"))

    def index(self, progress: Progress | None = None) -> Indexed:
        """Freeze the snapshot: IDs, dates and geometry are read, never a pixel."""
        links = read_links(Path(self.config.links), Path(self.config.photos))
        listing = list_folder(Path(self.config.dicom), progress=progress)
        refuse_unknown(links, listing.series.keys())
        key = self._key
        resolution = resolve(listing, links, key, progress=progress)
        self.snapshot.freeze(resolution.people, key)
        self.journal.write(Event.INDEXED)
        return Indexed(resolution=resolution, skipped=listing.skipped)

    def decide(self, word: str, verdict: Verdict, *, role: str, reason: DecisionReason) -> None:
        """Approve, decline or withdraw a study."""
        study = self.studies.find(word)
        if verdict is Verdict.APPROVED:
            check_policy(study.statement, self.policy, self.ledger)
        self.consent.decide(
            study,
            verdict,
            role=role,
            reason=reason,
            policy=self.policy,
            snapshot_digest=self.snapshot.digest() if verdict is Verdict.APPROVED else "",
            key=self._statement_key,
        )
        self.journal.write(Event(str(verdict)), study.sha256)

    def ready_to_run(self) -> tuple[Opened[Study], ...]:
        """Return approved studies without a release whose constants are all here."""
        return tuple(
            study
            for study in self.studies.every()
            if self.consent.verdict(study.sha256) is Verdict.APPROVED
            and not self.ledger.charged(study.sha256)
            and not self.constants.missing(study.statement)
        )

    def run(
        self,
        study: Opened[Study],
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> bytes | None:
        """Evaluate everybody of the snapshot, then release the one joint table.

        Parameters
        ----------
        study : Opened of Study
            Approved.
        progress : callable, optional
            For the site's own terminal.
        stop : threading.Event, optional
            Looked at between two people; what was evaluated stays sealed for the next run.

        Returns
        -------
        bytes or None
            The signed Release; None when stopped.

        Privacy
        -------
        Only the release may leave (docs/privacy.md, "One noisy table").
        """
        stored = self.ledger.stored(study.sha256)
        if stored is not None:
            self.outbox.add("release", study.sha256, stored)
            return stored
        if self.ledger.charged(study.sha256):
            raise OutcomeMissingError(
                "study",
                got="a table that was charged and never stored",
                expected="one that was never charged",
                do="count it as lost: it is never drawn again",
            )
        self.consent.require(study, policy=self.policy, snapshot_digest=self.snapshot.digest())
        check_policy(study.statement, self.policy, self.ledger)
        task = self._task(study)
        self.journal.write(Event.RUN_STARTED, study.sha256)
        outcomes = Outcomes(self._connection, self._key, study.sha256)
        people = list(self.snapshot.people())
        known = outcomes.known()
        with worker(task) as hands:
            for number, person in enumerate(people, start=1):
                if stop and stop.is_set():
                    return None
                if person.pseudonym not in known:
                    outcomes.keep(person.pseudonym, hands.evaluate(person))
                if progress:
                    progress(number, len(people))
        envelope = release(
            study,
            outcomes,
            ledger=self.ledger,
            policy=self.policy,
            site=self.config.name,
            key=self._statement_key,
            versions=package.versions(),
        )
        self.outbox.add("release", study.sha256, envelope)
        self.journal.write(Event.RELEASED, study.sha256)
        return envelope

    def take_receipt(self, envelope: bytes) -> None:
        """Keep a receipt whose counter grows; an older one is refused as malformed."""
        receipt = open_envelope(
            envelope, Receipt, self.pinned.ring, role=KeyRole.COORDINATOR
        ).statement
        receipt.check_audience(self.config.name)
        with transaction(self._connection):
            known = self._connection.execute(
                "SELECT envelope FROM receipt WHERE counter = ?", (receipt.counter,)
            ).fetchone()
            if known and known[0] == envelope:
                return
            (latest,) = self._connection.execute(
                "SELECT COALESCE(MAX(counter), 0) FROM receipt"
            ).fetchone()
            if receipt.counter <= latest:
                raise MalformedError(
                    "receipt",
                    got="a counter that does not grow",
                    expected=f"one above {latest}",
                    do="compare receipts with the coordinator: somebody shows two histories",
                )
            self._connection.execute(
                "INSERT INTO receipt VALUES (?, ?)", (receipt.counter, envelope)
            )
        self.journal.write(Event.RECEIPT, receipt.study_sha256)

    def keep_constant(self, content: bytes, constant: Constant) -> None:
        """Keep a public constant that came from outside."""
        self.constants.keep(content, constant)
        self.journal.write(Event.CONSTANT_KEPT)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _task(self, study: Opened[Study]) -> Task:
        read = {
            constant.role: self.constants.read(constant) for constant in study.statement.constants
        }
        return Task(
            sha256=study.sha256,
            cells=study.statement.experiment.cells(),
            gallery=read[ConstantRole.REFERENCE_GALLERY],
            calibration=read[ConstantRole.CALIBRATION],
            detector=read[ConstantRole.DETECTOR],
            recogniser=read[ConstantRole.RECOGNISER],
            key_file=self.home.key("site.key"),
            work=self.home.work,
        )
