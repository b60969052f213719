"""The signed report: estimates with intervals, every release, everything needed to recompute."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reidscope_protocols.face_experiment import GalleryError, Renders
from reidscope_protocols.keys import KeyRecord
from reidscope_protocols.programs import ProgramSaid
from reidscope_protocols.report_rows import (
    CatchmentRate,
    NamedRisk,
    Oddity,
    OverSites,
    Robust,
)
from reidscope_protocols.statements import Catchment, Parsed, Statement
from reidscope_protocols.vocabulary import (
    Direction,
    FailedGate,
    Line,
    Mate,
    ScanRule,
    Sha256,
    SiteName,
    StudyId,
)

Share = Annotated[float, Field(ge=0, le=1)]
Difference = Annotated[float, Field(ge=-1, le=1)]
LICENCE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$"
Licence = Annotated[str, StringConstraints(pattern=LICENCE_PATTERN)]
"""An SPDX licence identifier, such as CC-BY-4.0."""

DEFAULT_LICENCE = "CC-BY-4.0"


class ReportedStudy(Parsed):
    """Which study was answered, and how the attack was made.

    Attributes
    ----------
    cohort : str
        Who counts, in words.
    groups : str
        What the joint table is crossed with, in words; empty without.
    chance_percent : float
        What guessing reaches at the smallest gallery at most, per cent of people.
    """

    id: StudyId
    title: Line
    sha256: Sha256
    population: Line
    cohort: str = "everybody of the index"
    groups: str = ""
    question: str
    reference_people: Line
    reference_size: int
    gallery_error: tuple[GalleryError, ...]
    mate: Mate
    direction: Direction
    scan_rule: ScanRule
    chance_percent: float
    failed_gate: FailedGate
    renders: Renders
    recogniser: Line


class People(Parsed):
    """Number of people behind a site's table, from the noisy counts."""

    estimate: float
    low: float
    high: float


class ReportedSite(Parsed):
    """What one site of the study did; `subjects` is absent where it released nothing.

    Attributes
    ----------
    catchment : Catchment or None
        Whom its scans could be of, as the site declared it, or the study for it.
    """

    site: SiteName
    status: Literal["released", "declined", "silent"]
    subjects: People | None
    declared_people: int | None
    epsilon: float
    odds: float
    catchment: Catchment | None = None


class ReportedTable(Parsed):
    """Every noisy count, as the sites signed them."""

    table: Line
    cells: tuple[Line, ...]
    counts: dict[SiteName, tuple[int, ...]]
    epsilon: float


class Identification(Parsed):
    """Share of people found in one arm, by one attacker, among `gallery_size` faces.

    Attributes
    ----------
    basis : str
        `measured` in galleries of up to a tenth of the reference; `extrapolated` by a public tail;
        `model-based` where even that tail has been carried further than its pairs reach.
    tail : str or None
        The model that carried it there.
    bound_low, bound_high : float or None
        What needs no model, beside a rate that was not measured.
    """

    experiment: Line
    arm: Line
    attacker: Line
    gallery_size: int
    rank: int
    rate: Share
    low: Share
    high: Share
    basis: Literal["measured", "extrapolated", "model-based"]
    tail: Literal["gpd", "normal"] | None = None
    bound_low: Share | None = None
    bound_high: Share | None = None


class SiteIdentification(Parsed):
    """The same share at one site alone."""

    site: SiteName
    arm: Line
    attacker: Line
    gallery_size: int
    rate: Share
    low: Share
    high: Share


class Influence(Parsed):
    """Leave-one-site-out: the pooled share minus the share without this site."""

    site: SiteName
    arm: Line
    attacker: Line
    gallery_size: int
    change: Difference


class Acquired(Parsed):
    """Share of people whose scan and photo each showed a face."""

    experiment: Line
    rate: Share
    low: Share
    high: Share


class Comparison(Parsed):
    """Paired difference, `arm` minus `against`, on the same people with the same coins."""

    experiment: Line
    arm: Line
    attacker: Line
    against: Line
    gallery_size: int
    difference: Difference
    low: Difference
    high: Difference


class GroupEstimates(Parsed):
    """The same estimates for the people of one group alone: its own cells, its own denominator.

    Attributes
    ----------
    group : str
        Its label, such as `sex=F`; `other` for whoever is of no listed group.
    """

    group: Line
    people: People
    acquired: Acquired
    identification: tuple[Identification, ...]
    comparisons: tuple[Comparison, ...]


class FailedGates(Parsed):
    """Share of people whose scan failed a defacer's gates: never shown apart from its rate."""

    arm: Line
    rate: Share
    low: Share
    high: Share


class Damage(Parsed):
    """Share of people whose scan lost so much of the brain to a defacer.

    Attributes
    ----------
    brain_lost : str
        One of the classes, or "1% or more": the last two together.
    """

    arm: Line
    brain_lost: Line
    rate: Share
    low: Share
    high: Share


class TrueAccept(Parsed):
    """Share of people whose mate passes a threshold that lets one in 1/`fmr` strangers pass.

    Attributes
    ----------
    fmr : float
        False match rate of each probe's own threshold, set by public faces.
    """

    arm: Line
    attacker: Line
    fmr: Share
    rate: Share
    low: Share
    high: Share


class OpenSetRate(Parsed):
    """Share of people whose mate passes the threshold and ranks first among `gallery_size`.

    Attributes
    ----------
    fpir : float
        Share of searches for somebody who is not there that let anybody in.
    fmr : float
        1 - (1 - fpir)^(1 / gallery_size).
    """

    arm: Line
    attacker: Line
    gallery_size: int
    rank: int
    fpir: Share
    fmr: Share
    rate: Share
    low: Share
    high: Share


class AboveThreshold(Parsed):
    """Share of people whose own chance of rank 1 among `gallery_size` is above a threshold."""

    arm: Line
    attacker: Line
    gallery_size: int
    threshold: Share
    analogy: Literal["to thresholds of tabular data"] = "to thresholds of tabular data"
    rate: Share
    low: Share
    high: Share


class ReportedProgram(Parsed):
    """Which program of others made an arm at one site.

    Attributes
    ----------
    said : ProgramSaid or None
        None where the site's Release does not say it in the agreed form.
    """

    arm: Line
    site: SiteName
    said: ProgramSaid | None


class PrivacyAccount(Parsed):
    """What each person may have lost, and to whom the promise is made.

    Attributes
    ----------
    participants, colluders_tolerated, attempts : int or None
        Of a secure sum: sites in it, how many of them may collude with the coordinator, and how
        many attempts it took. None where each site added all of the noise.
    epsilon_alone, odds_alone : float or None
        What a person may have lost if everybody else colludes.
    """

    mechanism: Line
    unit: Line
    neighbouring: Line
    mode: Line
    epsilon_total: float
    odds_total: float
    note: str
    participants: int | None = None
    colluders_tolerated: int | None = None
    attempts: int | None = None
    epsilon_alone: float | None = None
    odds_alone: float | None = None


class Evidence(Parsed):
    """The signed bytes behind the numbers, and the keys that signed them.

    Attributes
    ----------
    study : str
        The study's DSSE envelope.
    releases, decisions : tuple of str
        DSSE envelopes, one a site that sent one.
    sum_round : str
        Of a secure sum: the coordinator's list of participants, else empty.
    masked : tuple of str
        Of a secure sum: every participant's masked tables, which add up to the report's.
    keys : tuple of KeyRecord
        Compare their fingerprints with the owners: a report cannot vouch for its own keys.
    """

    study: str
    releases: tuple[str, ...]
    decisions: tuple[str, ...]
    keys: tuple[KeyRecord, ...]
    sum_round: str = ""
    masked: tuple[str, ...] = ()


class Report(Statement):
    """A study's published answer.

    Attributes
    ----------
    licence : str
        What readers may do with the numbers; the coordinator's choice.
    enrolled_share : float or None
        Probability that a person stands in an attacker's gallery, stated by the coordinator.
    catchment, risks, over_sites, robust, oddities : tuple
        See `report_rows`.
    """

    payload_type = "application/vnd.reidscope.report+json"
    schema_: Literal["reidscope.report/2"] = Field("reidscope.report/2", alias="schema")
    study_sha256: Sha256
    study: ReportedStudy
    licence: Licence = DEFAULT_LICENCE
    notices: tuple[Line, ...]
    sites: tuple[ReportedSite, ...]
    tables: tuple[ReportedTable, ...]
    identification: tuple[Identification, ...]
    after_any: tuple[Identification, ...] = ()
    by_site: tuple[SiteIdentification, ...]
    by_group: tuple[GroupEstimates, ...] = ()
    influence: tuple[Influence, ...]
    acquired: tuple[Acquired, ...]
    comparisons: tuple[Comparison, ...]
    failed_gates: tuple[FailedGates, ...]
    damage: tuple[Damage, ...]
    enrolled_share: Share | None = None
    catchment: tuple[CatchmentRate, ...] = ()
    risks: tuple[NamedRisk, ...] = ()
    over_sites: tuple[OverSites, ...] = ()
    robust: tuple[Robust, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    tar: tuple[TrueAccept, ...] = ()
    open_set: tuple[OpenSetRate, ...] = ()
    above: tuple[AboveThreshold, ...] = ()
    programs: tuple[ReportedProgram, ...] = ()
    privacy: PrivacyAccount
    evidence: Evidence
    versions: dict[Line, Line]
