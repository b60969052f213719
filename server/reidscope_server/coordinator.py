"""The coordinator's verbs, on its own home folder; `up` and the command line both use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reidscope_protocols.envelope import Opened, peek_payload, peek_type
from reidscope_protocols.errors import InputError, NotReadyError
from reidscope_protocols.secure_sum import MaskedRelease, SumKeys
from reidscope_protocols.statements import Decision, Release
from reidscope_protocols.study import Study
from reidscope_server.config import ServerHome
from reidscope_server.greetings import Greetings
from reidscope_server.own_keys import changes
from reidscope_server.sites import Sites
from reidscope_server.store import connect
from reidscope_server.studies import Studies


class Coordinator:
    """One open home; use one instance a thread."""

    def __init__(self, home: ServerHome) -> None:
        self.home = home
        self._connection = connect(home.database)
        self.sites = Sites(self._connection, home)
        self.greetings = Greetings(self._connection)
        self.studies = Studies(self._connection, home, self.sites)

    @classmethod
    @contextmanager
    def opened(cls, home: ServerHome) -> Iterator[Coordinator]:
        """Open a home for the block."""
        coordinator = cls(home)
        try:
            yield coordinator
        finally:
            coordinator.close()

    def constant(self, sha256: str) -> bytes | None:
        """Return a public file that an open study names, None if this home does not hold it."""
        named = {
            constant.sha256
            for study in self.studies.every()
            for constant in study.statement.constants
        }
        path = self.home.constants / sha256
        return path.read_bytes() if sha256 in named and path.exists() else None

    def rounds_for(self, site: str) -> tuple[bytes, ...]:
        """Return the last word about each secure sum that asks a site."""
        return self.studies.sums.rounds_for(site, self.studies.every())

    def import_statement(self, envelope: bytes) -> str:
        """Take a decision or a release that came as a file; returns what it was.

        Raises
        ------
        StatementError, AdmissionError
            As if it had come over the wire.
        """
        kind = peek_type(envelope)
        if kind == Decision.payload_type:
            site = Decision.parse(peek_payload(envelope)).site
            self.studies.take_decision(envelope, site)
            return f"decision of {site}"
        if kind == Release.payload_type:
            site = Release.parse(peek_payload(envelope)).site
            self.studies.take_release(envelope, site)
            return f"release of {site}"
        if kind == SumKeys.payload_type:
            site = SumKeys.parse(peek_payload(envelope)).site
            self.studies.take_sum_keys(envelope, site)
            return f"sum keys of {site}"
        if kind == MaskedRelease.payload_type:
            site = MaskedRelease.parse(peek_payload(envelope)).site
            self.studies.take_masked(envelope, site)
            return f"masked release of {site}"
        raise InputError(
            "import",
            got="a statement of another kind",
            expected="a decision, a release, or what a secure sum needs",
            do="check which file was meant",
        )

    def portable(self, word: str) -> dict[str, bytes]:
        """Return a study, its constants and its receipts as files, by name."""
        study = self.studies.find(word)
        files = {f"{study.statement.study_id}.study.dsse.json": study.envelope}
        for constant in study.statement.constants:
            content = self.constant(constant.sha256)
            if content is not None:
                files[f"{constant.role}-{constant.sha256[:12]}"] = content
        for round_envelope in self.studies.sums.words_of(study):
            files[f"{study.statement.study_id}.sum-round.dsse.json"] = round_envelope
        for site in study.statement.audience:
            for number, receipt in enumerate(self.studies.receipts_for(site), start=1):
                files[f"{site}-receipt-{number}.dsse.json"] = receipt
        # First by name: a study or a receipt may be signed by a key that a change brings.
        for number, change in enumerate(changes(self.home), start=1):
            files[f"0-change-{number}.dsse.json"] = change
        return files

    def start_collecting(self, word: str) -> Opened[Study]:
        """Begin the rounds of a study; the daemon goes on until every site has answered.

        Raises
        ------
        NotReadyError
            Nobody of the study's sites is enrolled yet.
        """
        study = self.studies.find(word)
        enrolled = {site.name for site in self.sites.every() if not site.revoked}
        if not enrolled & set(study.statement.audience):
            raise NotReadyError(
                "collect",
                got="no enrolled site of this study",
                expected="at least one",
                do="invite sites with `reidscope-server token SITE`",
            )
        self.studies.set_collecting(study.sha256, collecting=True)
        return study

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
