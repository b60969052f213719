"""The signed study: the question, who is asked, what is computed, what leaves, what it costs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from reidscope_protocols.cells import JointCells
from reidscope_protocols.privacy import LARGEST_NANO, PrivacyLoss
from reidscope_protocols.statements import LedgerHead, Parsed, Statement
from reidscope_protocols.vocabulary import (
    UNMODIFIED,
    ArmName,
    ConstantRole,
    Line,
    Moment,
    Paragraph,
    Sha256,
    SiteName,
    StudyId,
)

JOINT_TABLE = "face-joint"
_MEASURED_SHARE = 10


class FiveSafes(Parsed):
    """The five questions of the Five Safes framework, answered for whoever approves."""

    project: Paragraph
    people: Paragraph
    settings: Paragraph
    data: Paragraph
    outputs: Paragraph


class GalleryError(Parsed):
    """Standard deviation of a rate at one anchor from having drawn ONE public gallery.

    Attributes
    ----------
    gallery_size : int
        The anchor, N.
    sigma_ppm : int
        sigma_G(N), parts per million, from public probes over resampled public galleries.
    """

    gallery_size: int = Field(ge=2)
    sigma_ppm: int = Field(ge=0, le=1_000_000)


class FaceExperiment(Parsed):
    """The question whether a person's scan finds the person's photo among N faces.

    Attributes
    ----------
    anchors : tuple of int
        Gallery sizes at which the unmodified arm is read; at most a tenth of the reference.
    arms : tuple of str
        `unmodified` first, then the defacers, which are read at the smallest anchor.
    reference_size : int
        Faces of the public reference gallery, M.
    """

    kind: Literal["face-identification"] = "face-identification"
    mate: Literal["photo"] = "photo"
    attacker: Literal["calibrated"] = "calibrated"
    scan_rule: Literal["first-by-date"] = "first-by-date"
    anchors: tuple[int, ...] = Field(min_length=1, max_length=8)
    arms: tuple[ArmName, ...] = Field(min_length=1, max_length=9)
    reference_size: int = Field(ge=20)
    reference_people: Line
    gallery_error: tuple[GalleryError, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.arms[0] != UNMODIFIED:
            message = "the first arm must be unmodified"
            raise ValueError(message)
        if max(self.anchors) * _MEASURED_SHARE > self.reference_size:
            message = f"every anchor must be at most a tenth of {self.reference_size} faces"
            raise ValueError(message)
        if tuple(error.gallery_size for error in self.gallery_error) != self.anchors:
            message = "gallery_error must give each anchor once, in order"
            raise ValueError(message)
        return self

    def cells(self) -> JointCells:
        """Return the joint table's cells."""
        return JointCells(anchors=self.anchors, defacers=self.arms[1:])


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


class Cohort(Parsed):
    """A rule over ONE person and constants: rules that compare people are not offered."""

    rule: Literal["everyone-indexed"] = "everyone-indexed"


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
    """

    payload_type = "application/vnd.reidscope.study+json"
    schema_: Literal["reidscope.study/1.0"] = Field("reidscope.study/1.0", alias="schema")
    study_id: StudyId
    title: Line
    question: Paragraph
    population: Literal["patients", "volunteers", "synthetic people"]
    five_safes: FiveSafes
    cohort: Cohort
    experiment: FaceExperiment
    constants: tuple[Constant, ...] = Field(min_length=1, max_length=20)
    tables: tuple[TableRequest, ...] = Field(min_length=1, max_length=1)
    minimum_declared_people: int = Field(ge=1)
    minimum_sites: int = Field(ge=1)
    opens_at: Moment
    closes_at: Moment
    answers_from: Moment | None = None
    ledger_heads: tuple[SiteHead, ...] = ()

    @model_validator(mode="after")
    def _asks_for_its_own_cells(self) -> Self:
        (table,) = self.tables
        if table.table != JOINT_TABLE or table.cells != self.experiment.cells().labels:
            message = f"tables must be the experiment's own cells under the name {JOINT_TABLE}"
            raise ValueError(message)
        if not self.issued_at <= self.opens_at < self.closes_at <= self.not_after:
            message = "issued_at <= opens_at < closes_at <= not_after must hold"
            raise ValueError(message)
        answers = self.answers_from or self.opens_at
        if not self.opens_at <= answers < self.closes_at:
            message = "opens_at <= answers_from < closes_at must hold"
            raise ValueError(message)
        roles = [constant.role for constant in self.constants]
        if sorted(roles) != sorted(ConstantRole):
            message = "each constant's role must appear exactly once"
            raise ValueError(message)
        if self.minimum_sites > len(self.audience) or len(set(self.audience)) != len(self.audience):
            message = "audience must name distinct sites, no fewer than minimum_sites"
            raise ValueError(message)
        return self

    @property
    def joint_table(self) -> TableRequest:
        """The one table of version 1 of the schema."""
        return self.tables[0]

    @property
    def loss(self) -> PrivacyLoss:
        """Epsilon of the whole study at one site."""
        return PrivacyLoss(sum(table.epsilon_nano for table in self.tables))

    def constant(self, role: ConstantRole) -> Constant:
        """Return the constant with that role."""
        return next(constant for constant in self.constants if constant.role is role)
