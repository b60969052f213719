"""The words that every statement uses, each with the form that it must have."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, StringConstraints

SiteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
"""A site's public name: lower case, digits and hyphens, at most 40 characters."""

StudyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""A study's public short name; its sha256 is what binds."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""Lower-case hexadecimal sha256."""

ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""What was done to a scan before the attack; `unmodified` is the arm without any defacing."""

SYNTHETIC = "synthetic people"
"""The population of a study that is about nobody: a demonstration."""

UNMODIFIED = "unmodified"


def _one_line(text: str) -> str:
    if any(not character.isprintable() for character in text):
        message = "must be one line of printable characters"
        raise ValueError(message)
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=400), AfterValidator(_one_line)]
"""Text for people: one line."""

Paragraph = Annotated[
    str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_one_line)
]
"""Longer text for people, still one line: a second one could be taken for what the agent says."""


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset():
        message = "must be in UTC"
        raise ValueError(message)
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time in UTC, so that what is shown is what was signed."""


class KeyRole(StrEnum):
    """Whose voice a signing key is."""

    STUDY = "study"
    """Signs studies; may live on a machine that is never online."""
    COORDINATOR = "coordinator"
    """Signs receipts, grants and reports."""
    SITE = "site"
    """Signs one site's decisions and releases."""


class ConstantRole(StrEnum):
    """What a public constant of a study is for."""

    REFERENCE_GALLERY = "reference-gallery"
    CALIBRATION = "calibration"
    DETECTOR = "detector"
    RECOGNISER = "recogniser"
    TEMPLATE = "template"


class Verdict(StrEnum):
    """What a site decided about a study."""

    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class DecisionReason(StrEnum):
    """Why, in one of a few public words: never a person's text."""

    REVIEWED = "reviewed"
    POLICY = "policy"
    ETHICS = "ethics"
    WORKLOAD = "workload"
    DATA = "data"
    OTHER = "other"


class Attacker(StrEnum):
    """What the attacker knows and does."""

    RAW = "raw"
    """Compares embeddings as the recogniser gives them."""
    CALIBRATED = "calibrated"
    """Subtracts the public means of photos and of scans, arm by arm."""
    REPAIRING = "repairing"
    """Calibrated, and fills what a defacer took from the average head first."""


class Mate(StrEnum):
    """What the attacker holds with a name on it."""

    PHOTO = "photo"
    SECOND_SCAN = "second-scan"


class Direction(StrEnum):
    """Who searches whom."""

    SAMPLE_TO_POPULATION = "sample-to-population"
    """A released scan searches photos or scans with names."""
    POPULATION_TO_SAMPLE = "population-to-sample"
    """A photo or scan with a name searches released scans."""


class ScanRule(StrEnum):
    """Which scans of a person are released."""

    FIRST_BY_DATE = "first-by-date"
    MOST_EXPOSED = "most-exposed"


class FailedGate(StrEnum):
    """What becomes of a scan that fails a defacer's gates."""

    NOT_RELEASED = "not-released"
    RELEASED = "released"


class Fusion(StrEnum):
    """How several renders of a scan are put together."""

    MEAN = "mean"
    BEST = "best"
