"""Studies that reached this site: checked once on arrival, then kept byte for byte."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from reidscope_protocols.envelope import Opened, issued_within, open_envelope
from reidscope_protocols.errors import MalformedError, PolicyRefusalError
from reidscope_protocols.keys import KeyRing
from reidscope_protocols.reopened import reopened
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import SYNTHETIC, KeyRole
from reidscope_site.config import Policy
from reidscope_site.distributed_policy import check_distributed
from reidscope_site.following import refuse_ended
from reidscope_site.ledger import Ledger
from reidscope_site.store import transaction

"""The population of demonstrations: nobody can be harmed by an older ledger."""


class Studies:
    """The studies inside one open database."""

    def __init__(self, connection: sqlite3.Connection, ring: KeyRing, site: str) -> None:
        self._connection = connection
        self._ring = ring
        self._site = site

    def receive(self, envelope: bytes) -> Opened[Study]:
        """Check and keep a study; receiving the same bytes again changes nothing.

        Raises
        ------
        StatementError
            Wrong signature, shape, audience or time: the study is not kept.
        """
        study = open_envelope(envelope, Study, self._ring, role=KeyRole.STUDY)
        issued_within(study.statement, now=datetime.now(UTC), reader=self._site)
        known = self._connection.execute(
            "SELECT 1 FROM study WHERE sha256 = ?", (study.sha256,)
        ).fetchone()
        if not known:
            refuse_ended(study, datetime.now(UTC))
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO study VALUES (?, ?, ?)",
                (study.sha256, envelope, datetime.now(UTC).isoformat(timespec="seconds")),
            )
        return study

    def every(self) -> tuple[Opened[Study], ...]:
        """Return all studies that were ever received, oldest first."""
        rows = self._connection.execute("SELECT envelope FROM study ORDER BY received_at, sha256")
        return tuple(reopened(envelope, self._ring) for (envelope,) in rows.fetchall())

    def find(self, word: str) -> Opened[Study]:
        """Find a study by its short name or by the first digits of its sha256.

        Raises
        ------
        MalformedError
            No study fits, or more than one does.
        """
        fitting = [
            study
            for study in self.every()
            if study.statement.study_id == word or (word and study.sha256.startswith(word))
        ]
        if len(fitting) != 1:
            raise MalformedError(
                "study",
                got="a name that fits none of this site's studies"
                if not fitting
                else f"a name that fits {len(fitting)} studies",
                expected="the name or the first digits of one study's sha256",
                do="look at `reidscope-site studies`",
            )
        return fitting[0]


def check_policy(
    study: Study, policy: Policy, ledger: Ledger, *, site: str = "", sha256: str = ""
) -> None:
    """Raise a RefusalError if the site's policy forbids `study`, whoever approves it.

    Everything compared is public or typed by a person: the refusal tells nothing about the data
    (docs/privacy.md, "Refusals").
    """
    if study.population not in policy.populations:
        raise PolicyRefusalError(
            "population",
            got=study.population,
            expected="one of " + ", ".join(policy.populations),
            do="decline, or change the policy file",
        )
    unknown = [arm for arm in study.experiment.arms if arm not in policy.arms]
    if unknown:
        raise PolicyRefusalError(
            "arms",
            got=", ".join(unknown),
            expected="arms out of " + ", ".join(policy.arms),
            do="decline, or change the policy file",
        )
    strange = [
        part.sha256
        for part in study.experiment.recogniser.parts
        if part.sha256 not in policy.recognisers
    ]
    if strange:
        raise PolicyRefusalError(
            "recogniser",
            got=", ".join(f"a network with sha256 {sha256[:16]}..." for sha256 in strange),
            expected="networks out of `recognisers` in the policy file",
            do="decline, or look at the network and add its sha256 to the policy file",
        )
    if policy.declared_people < study.minimum_declared_people:
        raise PolicyRefusalError(
            "declared people",
            got=str(policy.declared_people),
            expected=f"at least {study.minimum_declared_people}",
            do="decline: the study asks for larger sites",
        )
    if study.population != SYNTHETIC and not ledger.is_witnessed:
        raise PolicyRefusalError(
            "the ledger",
            got="one without a witness",
            expected="a witness on another volume, for every study of people",
            do="add to site.toml: witness = FILE",
        )
    if study.noise is None:
        ledger.check_budget(study.loss, policy)
    else:
        check_distributed(study, study.noise, policy, ledger, site=site, sha256=sha256)
