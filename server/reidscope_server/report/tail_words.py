"""The opt-in tables in plain words: what was asked, what came out, what it does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.report import (
    AboveThreshold,
    Identification,
    OpenSetRate,
    Report,
    TrueAccept,
)
from reidscope_protocols.tail_tables import POOLED_SHARE
from reidscope_protocols.vocabulary import UNMODIFIED

MODELS = {"gpd": "generalised Pareto tail", "normal": "normal tail"}


class _Interval(Protocol):
    @property
    def rate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """One column in one gallery beyond the reference: what each model says, and what is certain.

    Attributes
    ----------
    rows : tuple of Identification
        One a model, the generalised Pareto tail first.
    """

    rows: tuple[Identification, ...]

    @property
    def first(self) -> Identification:
        """The row that says what both share."""
        return self.rows[0]

    @property
    def bound(self) -> float:
        """Upper end of what needs no model; the lower one is 0."""
        return self.first.bound_high if self.first.bound_high is not None else 1.0

    @property
    def low(self) -> float:
        """Lower end of the band: of all models' intervals."""
        return min(row.low for row in self.rows)

    @property
    def high(self) -> float:
        """Upper end of the band."""
        return max(row.high for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One row of the opt-in tables of u, as page and figure show it."""

    arm: str
    attacker: str
    question: str
    row: _Interval


def beyond(report: Report) -> tuple[Beyond, ...]:
    """Return every column and gallery size beyond the reference, in the study's order."""
    rows = [row for row in report.identification if row.basis != "measured"]
    places = dict.fromkeys((row.experiment, row.gallery_size) for row in rows)
    return tuple(
        Beyond(rows=tuple(row for row in rows if (row.experiment, row.gallery_size) == place))
        for place in places
    )


def thresholds(report: Report) -> tuple[Threshold, ...]:
    """Return every row of the tables of u: TAR at FMR, then open set, then tabular thresholds."""
    asked: tuple[tuple[TrueAccept | OpenSetRate | AboveThreshold, str], ...] = (
        *((row, f"TAR at FMR {row.fmr:g}") for row in report.tar),
        *(
            (row, f"TPIR among {row.gallery_size:,} at FPIR {row.fpir:g}")
            for row in report.open_set
        ),
        *((row, f"chance > {row.threshold:g} among {row.gallery_size:,}") for row in report.above),
    )
    return tuple(
        Threshold(arm=row.arm, attacker=row.attacker, question=question, row=row)
        for row, question in asked
    )


def gates_said(report: Report, arm: str) -> str:
    """Say how often a defacer's gates failed, beside its name; nothing for unmodified scans."""
    failed = next((row for row in report.failed_gates if row.arm == arm), None)
    return f" (gates failed for {failed.rate:.0%})" if failed else ""


def tail_headlines(report: Report) -> tuple[str, ...]:
    """One line a rate of the opt-in tables, for a terminal."""
    return (
        *(
            f"{one.arm} ({one.attacker}): {one.question}: {_percent(one.row)}"
            f"{gates_said(report, one.arm)}"
            for one in thresholds(report)
        ),
        *(
            f"{row.arm} ({row.attacker}): {row.basis} to {row.gallery_size:,} faces, "
            f"{MODELS[row.tail or 'gpd']}: {_percent(row)}; without a model 0% to {one.bound:.0%}"
            f"{gates_said(report, row.arm)}"
            for one in beyond(report)
            for row in one.rows
        ),
    )


def tail_plain(report: Report) -> dict[str, str]:
    """Return a sentence for everybody beside each figure of the opt-in tables, by its name."""
    said = {}
    every = thresholds(report)
    if every:
        first = every[0]
        said["thresholds"] = (
            "An attacker who may be wrong only so often lets fewer people through: "
            f"{first.arm}, {first.question}: about {100 * first.row.rate:.0f} of 100 people."
        )
    far = beyond(report)
    if far:
        last = next((one for one in reversed(far) if one.first.arm == UNMODIFIED), far[-1])
        rates = [100 * row.rate for row in last.rows]
        said["beyond"] = (
            f"Nobody searched {last.first.gallery_size:,} faces. Two models guess that "
            f"{min(rates):.0f} to {max(rates):.0f} of 100 people would be found there "
            f"({last.first.arm}); without a model, anything from 0 to {100 * last.bound:.0f} is "
            "possible."
        )
    return said


def tail_facts(asked: FaceExperiment) -> list[tuple[str, str]]:
    """Say how the opt-in tables were made, a term and its sentence at a time."""
    facts = []
    if asked.scores:
        facts.append(
            (
                "Thresholds",
                (
                    "each probe's own, where it lets in the asked share of the public faces; faces "
                    "tied with the mate pass with it. One threshold for all would find fewer"
                ),
            )
        )
    if asked.beyond:
        facts.append(
            (
                "Beyond the reference",
                (
                    "the mate's score in standard deviations of the same probe's public scores, "
                    "and how the pooled scores of public strangers end: extrapolated up to 1/"
                    f"{POOLED_SHARE} of their pairs, model-based after that"
                ),
            )
        )
    return facts


def tail_methods(asked: FaceExperiment) -> list[str]:
    """Return the sentences on the opt-in tables that a paper's methods need."""
    said = []
    if asked.scores:
        said.append(
            "With u the share of the reference at least as similar to the probe as its mate, the "
            "true accept rate at a false match rate f is the share of people with u <= f, and the "
            "open-set rate at (N, FPIR) the share with u <= 1 - (1 - FPIR)^(1/N) who were found "
            "at N: the attacker sets each probe's threshold by public faces. Shares of people "
            "whose chance of rank 1 exceeds a threshold of tabular risk (u < 1 - t^(1/(N-1))) are "
            "an analogy to it."
        )
    if asked.beyond:
        pairs = min(tail.pairs for tail in asked.beyond.tails)
        said.append(
            "Rates beyond the reference were extrapolated from the mate's z-score among the "
            f"probe's own public scores by two tails of at least {pairs:,} pooled public pairs, "
            "generalised Pareto (probability-weighted moments above the 99th percentile) and "
            "normal; beyond a twentieth of those pairs they are called model-based. Their "
            "intervals hold people, noise, gallery and public probes, not the choice of a model."
        )
    return said


def tail_results(report: Report) -> list[str]:
    """Return the sentences on the opt-in tables that a paper's results need."""
    return [
        *(
            f"{one.arm} ({one.attacker}), {one.question}: {_points(one.row)}."
            for one in thresholds(report)
        ),
        *(
            f"{one.first.arm} ({one.first.attacker}), {one.first.basis} to "
            f"{one.first.gallery_size:,} faces: "
            + ", ".join(f"{_points(row)} by a {MODELS[row.tail or 'gpd']}" for row in one.rows)
            + f"; without a model, between 0 and {100 * one.bound:.1f}%."
            for one in beyond(report)
        ),
    ]


def _percent(row: _Interval) -> str:
    return f"{row.rate:.0%} (95% interval {row.low:.0%} to {row.high:.0%})"


def _points(row: _Interval) -> str:
    return f"{100 * row.rate:.1f}% (95% CI {100 * row.low:.1f} to {100 * row.high:.1f})"
