"""The signed study: the question, who is asked, what is computed, what leaves, what it costs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from reidscope_protocols.cohort import Cohort
from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.face_experiment import GATES_TABLE, JOINT_TABLE, FaceExperiment
from reidscope_protocols.privacy import LARGEST_NANO, PrivacyLoss
from reidscope_protocols.reach import Reach
from reidscope_protocols.statements import LedgerHead, Parsed, Statement
from reidscope_protocols.tail_tables import BEYOND_TABLE, SCORE_TABLE
from reidscope_protocols.vocabulary import (
    ConstantRole,
    Line,
    Moment,
    Paragraph,
    Sha256,
    SiteName,
    StudyId,
)

_GATES_SHARE = 5
_DAMAGE = PrivacyLoss(200_000_000)
_SCORES = PrivacyLoss(500_000_000)


class FiveSafes(Parsed):
    """The five questions of the Five Safes framework, answered for whoever approves."""

    project: Paragraph
    people: Paragraph
    settings: Paragraph
    data: Paragraph
    outputs: Paragraph


class Constant(Parsed):
    """A public file that every site must hold, byte for byte.

    Attributes
    ----------
    size_bytes : int or None
        None for a file that every installation brings along: it is never sent.
    """

    role: ConstantRole
    sha256: Sha256
    size_bytes: int | None = Field(ge=1, le=1 << 31)


class TableRequest(Parsed):
    """One table that a site is asked to release, and its price."""

    table: Line
    cells: tuple[Line, ...] = Field(min_length=2, max_length=5000)
    epsilon_nano: int = Field(gt=0, le=LARGEST_NANO)

    @property
    def loss(self) -> PrivacyLoss:
        """Price of the table."""
        return PrivacyLoss(self.epsilon_nano)


def priced(
    experiment: FaceExperiment,
    loss: PrivacyLoss,
    damage_loss: PrivacyLoss = _DAMAGE,
    score_loss: PrivacyLoss = _SCORES,
) -> tuple[TableRequest, ...]:
    """Price an experiment's tables: the gates a fifth of `loss`, the joint table the rest.

    Parameters
    ----------
    experiment : FaceExperiment
        Names the tables.
    loss : PrivacyLoss
        Of the joint table and the table of failed gates together.
    damage_loss : PrivacyLoss
        Of each table of damage, on top.
    score_loss : PrivacyLoss
        Of each table of u and each beyond the reference, on top.
    """
    cells = experiment.tables()
    gates = loss.nano // _GATES_SHARE if GATES_TABLE in cells else 0
    prices = {JOINT_TABLE: loss.nano - gates, GATES_TABLE: gates} | {
        name: score_loss.nano
        for name in cells
        if name.partition("/")[0] in {SCORE_TABLE, BEYOND_TABLE}
    }
    return tuple(
        TableRequest(table=name, cells=labels, epsilon_nano=prices.get(name, damage_loss.nano))
        for name, labels in cells.items()
    )


class SiteHead(Parsed):
    """The ledger head that the coordinator last saw of a site; none before its first release."""

    site: SiteName
    ledger: LedgerHead


class Study(Statement):
    """Everything that a site needs to know before it says yes.

    Attributes
    ----------
    opens_at, closes_at : datetime
        UTC; releases are collected between the two.
    answers_from : datetime or None
        Until then every site that approved says that it is working, however soon it was done: how
        long a site measures grows with its people.
    minimum_declared_people : int
        Compared with the size that the site DECLARED in its policy, never with a true count.
    minimum_sites : int
        The round ends without a report below this.
    reach : Reach or None
        Whom a scan could be of, where the coordinator states it: public numbers for the report.
    noise : DistributedNoise or None
        How the noise is shared out among the sites; None where each adds all of it (local noise).
    """

    payload_type = "application/vnd.reidscope.study+json"
    schema_: Literal["reidscope.study/2.0"] = Field("reidscope.study/2.0", alias="schema")
    study_id: StudyId
    title: Line
    question: Paragraph
    population: Literal["patients", "volunteers", "synthetic people"]
    five_safes: FiveSafes
    cohort: Cohort
    experiment: FaceExperiment
    constants: tuple[Constant, ...] = Field(min_length=1, max_length=20)
    tables: tuple[TableRequest, ...] = Field(min_length=1, max_length=20)
    minimum_declared_people: int = Field(ge=1)
    minimum_sites: int = Field(ge=1)
    opens_at: Moment
    closes_at: Moment
    answers_from: Moment | None = None
    ledger_heads: tuple[SiteHead, ...] = ()
    reach: Reach | None = None
    noise: DistributedNoise | None = None

    @model_validator(mode="after")
    def _asks_for_its_own_cells(self) -> Self:
        asked = tuple((table.table, table.cells) for table in self.tables)
        if asked != tuple(self.experiment.tables().items()):
            message = "tables must be the experiment's own: " + ", ".join(self.experiment.tables())
            raise ValueError(message)
        if not self.issued_at <= self.opens_at < self.closes_at <= self.not_after:
            message = "issued_at <= opens_at < closes_at <= not_after must hold"
            raise ValueError(message)
        answers = self.answers_from or self.opens_at
        if not self.opens_at <= answers < self.closes_at:
            message = "opens_at <= answers_from < closes_at must hold"
            raise ValueError(message)
        reached = {site.site for site in self.reach.sites} if self.reach else set()
        if not reached <= set(self.audience):
            message = "reach must speak of sites of the study alone"
            raise ValueError(message)
        networks = {part.sha256 for part in self.experiment.recogniser.parts}
        roles = [constant.role for constant in self.constants]
        others = [role for role in roles if role is not ConstantRole.RECOGNISER]
        if sorted(others) != sorted(set(ConstantRole) - {ConstantRole.RECOGNISER}):
            message = "each constant's role but the recogniser's must appear exactly once"
            raise ValueError(message)
        held = [c.sha256 for c in self.constants if c.role is ConstantRole.RECOGNISER]
        if set(held) != networks or len(held) != len(networks):
            message = "the recogniser's networks must be its declaration's, each once"
            raise ValueError(message)
        if (
            self.constant(ConstantRole.DETECTOR).sha256
            != self.experiment.recogniser.detector.sha256
        ):
            message = "the detector must be the recogniser declaration's"
            raise ValueError(message)
        if self.minimum_sites > len(self.audience) or len(set(self.audience)) != len(self.audience):
            message = "audience must name distinct sites, no fewer than minimum_sites"
            raise ValueError(message)
        problem = self._problem_with_noise()
        if problem:
            raise ValueError(problem)
        return self

    def _problem_with_noise(self) -> str | None:
        if self.noise is None:
            return None
        tables = [(len(table.cells), table.epsilon_nano) for table in self.tables]
        return self.noise.problem_with(
            self.audience, minimum_sites=self.minimum_sites, tables=tables
        )

    @property
    def joint_table(self) -> TableRequest:
        """The table that every rate is read from; always the first."""
        return self.tables[0]

    @property
    def loss(self) -> PrivacyLoss:
        """Epsilon of the whole study at one site; of one attempt, where noise is distributed."""
        return PrivacyLoss(sum(table.epsilon_nano for table in self.tables))

    def constant(self, role: ConstantRole) -> Constant:
        """Return the (first) constant with that role."""
        return next(constant for constant in self.constants if constant.role is role)
