"""Report -> a paragraph on methods and one on results, ready for a paper.

Every number and every choice comes from the signed study and the report; nothing is written that
they do not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reidscope_protocols.cohort import EVERYBODY
from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.report import Comparison, Identification, Report
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import Attacker, Direction, FailedGate, Fusion, Mate, ScanRule
from reidscope_server.estimates import ANY_ATTACKER, ANY_DEFACER
from reidscope_server.report.drawing import minus
from reidscope_server.report.readings import Arm, arms, estimable, people, released, unmodified
from reidscope_server.report.tail_words import tail_methods, tail_results

METHODS_FILE = "methods.txt"
_DIGITS = 12
_ATTACKERS = {
    Attacker.RAW: "compared embeddings as they were (raw)",
    Attacker.CALIBRATED: "subtracted the public mean embedding of each side (calibrated)",
    Attacker.REPAIRING: (
        "subtracted them too and filled what a defacer took from an average head (repairing)"
    ),
}


_SAMPLE = (
    "Intervals over sites like these treat the sites as a sample (t on the number of sites minus "
    "one, weights by precision with Paule and Mandel's between-site variance, Fieller's form; "
    "each mean p is judged with a spread that grows as p (1 - p))."
)
_ROBUST = (
    "Robust alternatives leave out the site furthest from the median of sites (interval: hull of "
    "all leave-one-out intervals) or trim a fifth of the sites at either end (Yuen's, widened "
    "towards the middle of the scale for the skewness of shares)."
)
_PLACES = (
    "For scans of known origin the rate is bounded by the measured curve at the population that "
    "the site or its region declares, in galleries of that many people drawn like the reference."
)


class _Interval(Protocol):
    @property
    def rate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def paragraphs(report: Report) -> tuple[str, str]:
    """Return the paragraph on methods and the one on results."""
    study = Study.parse(peek_payload(report.evidence.study.encode()))
    return _methods(report, study), _results(report)


def methods_text(report: Report) -> bytes:
    """Return both paragraphs as a text file, UTF-8."""
    methods, results = paragraphs(report)
    return f"Methods\n\n{methods}\n\nResults\n\n{results}\n".encode()


def _methods(report: Report, study: Study) -> str:
    asked = study.experiment
    return " ".join(
        (
            (
                f'The study "{study.title}" (id {study.study_id}, sha256 '
                f"{report.study_sha256[:_DIGITS]}\N{HORIZONTAL ELLIPSIS}) measured how many people "
                f"of a cohort ({study.population}) a face recogniser finds from a head scan."
            ),
            (
                f"It was run with reidscope {report.versions['reidscope']}: the attack was made "
                "where the data is, and only noisy tables of counts left a site."
            ),
            _attack(asked),
            _attackers(asked),
            _outcome(asked),
            *_who(report),
            *((_defacers(asked),) if len(asked.arms) > 1 else ()),
            *tail_methods(asked),
            *_programs(report),
            _privacy(report, study),
            (
                "Counts were added over the sites without clamping; 95% intervals are score sets "
                "(Wilson for shares, Tango for paired differences) whose variance includes the "
                "privacy noise and the choice of one public gallery."
            ),
            *((_SAMPLE,) if report.over_sites else ()),
            *((_ROBUST,) if report.robust else ()),
            *((_PLACES,) if report.catchment else ()),
        )
    )


def _who(report: Report) -> tuple[str, ...]:
    said = report.study
    cohort = f"The cohort was {said.cohort}." if said.cohort != str(EVERYBODY) else ""
    return tuple(sentence for sentence in (cohort, said.groups) if sentence)


def _results(report: Report) -> str:
    whole, *defaced = arms(report)
    made_up = (
        "The people are synthetic: these numbers show that the machinery works, not how exposed "
        "patients are. "
        if report.study.population == "synthetic people"
        else ""
    )
    rates = _and([f"{_ci(row)} among {row.gallery_size:,}" for row in unmodified(report)])
    sentences = [
        (
            f"{made_up}{len(released(report))} of {len(report.sites)} sites released tables, on "
            f"about {people(report):,.0f} people (a noisy count); both sides showed a single face "
            f"for {_ci(report.acquired[0])} of them."
        ),
        f"Unmodified scans gave away {rates} (attacker: {whole.found[0].attacker}).",
        *(_arm(arm) for arm in defaced),
        *(_any_of(row) for row in report.after_any),
        *((_groups(report),) if report.by_group else ()),
        *tail_results(report),
        *_over_sites(report),
        *_enrolled(report, whole.found[0]),
    ]
    return " ".join(sentences)


def _groups(report: Report) -> str:
    rows = [(each.group.split("=", 1)[1], each.identification[0]) for each in report.by_group]
    told = [f"{name} {_ci(row) if estimable(row) else 'too few to say'}" for name, row in rows]
    size = rows[0][1].gallery_size
    return f"By group, unmodified scans among {size:,} gave away: {', '.join(told)}."


def _over_sites(report: Report) -> list[str]:
    return [
        f"Over sites like these, the mean share found by unmodified scans among "
        f"{row.gallery_size:,} was {_ci(row)}; sites differed by a standard deviation of "
        f"{100 * row.between_sites:.1f} points beyond sampling and noise."
        for row in report.over_sites[:1]
    ]


def _enrolled(report: Report, row: Identification) -> list[str]:
    times = report.enrolled_share
    if times is None or not estimable(row):
        return []
    return [
        (
            f"These are prosecutor risks; where a person stands in the attacker's gallery with "
            f"probability {times:g}, journalist and marketer risk of an unmodified scan among "
            f"{row.gallery_size:,} are {100 * times * row.rate:.1f}%."
        )
    ]


def _any_of(row: Identification) -> str:
    scans = "at least one defacer" if row.arm == ANY_DEFACER else row.arm
    tried = " by at least one attacker" if row.attacker == ANY_ATTACKER else ""
    return f"After {scans}, {_ci(row)} were found{tried} among {row.gallery_size:,}."


def _attack(asked: FaceExperiment) -> str:
    renders = asked.renders
    number = renders.views * renders.lights
    scans = (
        "each person's first scan by date"
        if asked.scan_rule is ScanRule.FIRST_BY_DATE
        else f"each of a person's first {asked.scan_cap} scans by date"
    )
    fused = "averaged" if renders.fusion is Fusion.MEAN else "the best match kept"
    pictures = (
        "one frontal picture"
        if number == 1
        else f"{number} pictures ({renders.views} views by {renders.lights} lamps, {fused})"
    )
    mate = "photo" if asked.mate is Mate.PHOTO else "second scan"
    search = (
        f"searched among named {mate}s"
        if asked.direction is Direction.SAMPLE_TO_POPULATION
        else f"made the gallery in which the person's named {mate} was searched"
    )
    parts = ", ".join(f"sha256 {part.sha256[:_DIGITS]}" for part in asked.recogniser.parts)
    return (
        f"From {scans}, {pictures}{' in grey' if renders.grey else ''} of the skin {_were(number)} "
        f"rendered, described by the recogniser {asked.recogniser.name} ({parts}) and {search}; "
        f"strangers were {asked.reference_size:,} public faces ({asked.reference_people})."
    )


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _attackers(asked: FaceExperiment) -> str:
    if len(asked.attackers) == 1:
        return f"The attacker {_ATTACKERS[asked.attackers[0]]}."
    each = _and([f"one {_ATTACKERS[word]}" for word in asked.attackers])
    return f"There were {len(asked.attackers)} attackers: {each}. The first read unmodified scans."


def _outcome(asked: FaceExperiment) -> str:
    mate = "photo" if asked.mate is Mate.PHOTO else "second scan"
    sizes = _and([f"{size:,}" for size in asked.anchors])
    return (
        f"A person counted as found at N ({sizes}) if the true match of scan and {mate} ranked "
        "first against N - 1 strangers, judged with one secret coin a person that all arms share; "
        "people without a single face on both sides counted as not found. Guessing reaches at most "
        f"{asked.chance_percent:g}% at N = {asked.anchors[0]:,}."
    )


def _defacers(asked: FaceExperiment) -> str:
    rule = (
        "a scan that failed them was taken as not released, and its person as not found"
        if asked.failed_gate is FailedGate.NOT_RELEASED
        else "a scan that failed them was attacked all the same"
    )
    lost = (
        f" The share of the brain that was lost was released for {_and(asked.damage_arms)}."
        if asked.damage_arms
        else ""
    )
    return (
        f"Scans defaced by {_and(asked.arms[1:])} were read at N = {asked.anchors[0]:,}. Gates "
        "checked each defaced scan by geometry (was there a face, is it gone, is the brain whole); "
        f"{rule}.{lost}"
    )


def _programs(report: Report) -> tuple[str, ...]:
    """Say which programs of others made an arm, as the sites said it; nothing without any."""
    said: dict[str, dict[str, list[str]]] = {}
    for row in report.programs:
        version = "an unknown version" if row.said is None else f"version {row.said.version}"
        said.setdefault(row.arm, {}).setdefault(version, []).append(row.site)
    return tuple(
        f"{arm} was a program of the sites' own: "
        + _and([f"{version} at {_and(sites)}" for version, sites in versions.items()])
        + "."
        for arm, versions in said.items()
    )


def _privacy(report: Report, study: Study) -> str:
    tables = _and(
        [
            f"{table.table} ({len(table.cells)} counts, epsilon {table.loss})"
            for table in study.tables
        ]
    )
    account = report.privacy
    if account.mode == "distributed":
        return (
            f"The tables {tables} of {account.participants} sites were added up under pairwise "
            f"masks (X25519, ChaCha20; sums mod 2^64), so that only the sums are known; each site "
            f"added a Polya share of the noise, which makes up {account.mechanism.split(' in ')[0]}"
            f" noise on every sum: pure differential privacy of epsilon {account.epsilon_total:g} "
            f"a person and site as long as at most {account.colluders_tolerated} participants "
            f"collude with the coordinator, and of {account.epsilon_alone:g} if all others do, "
            f"where neighbours {account.neighbouring}."
        )
    return (
        f"Each site released {tables} with {report.privacy.mechanism} noise on every count: pure "
        f"differential privacy of epsilon {study.loss} a person and site, "
        f"where neighbours {report.privacy.neighbouring}."
    )


def _arm(arm: Arm) -> str:
    several = len(arm.found) > 1
    found = _and([_ci(row) + (f" ({row.attacker})" if several else "") for row in arm.found])
    changed = _and([_points(row) for row in arm.compared])
    failed = f"; its gates failed for {_ci(arm.failed)}" if arm.failed else ""
    lost = f", and {_ci(arm.serious)} lost 1% of the brain or more" if arm.serious else ""
    return (
        f"After {arm.name}, {found} were found among {arm.found[0].gallery_size:,} "
        f"(change: {changed} points){failed}{lost}."
    )


def _ci(row: _Interval) -> str:
    low, high = 100 * row.low, 100 * row.high
    if not estimable(row):
        return "a share that the noise hides (95% interval 0 to 100%)"
    return f"{100 * row.rate:.1f}% (95% interval {low:.1f} to {high:.1f}%)"


def _points(row: Comparison) -> str:
    mid, low, high = (f"{100 * x:+.1f}" for x in (row.difference, row.low, row.high))
    return minus(f"{mid} ({low} to {high})")


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
