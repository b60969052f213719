"""A study and its report in plain words: how the attack was made, and what each figure says.

Functions of the signed study and the report alone, so that `verify` finds the same words again.
"""

from __future__ import annotations

from reidscope_protocols.cohort import DEFAULT_SCANS
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.report import Identification, Report
from reidscope_protocols.vocabulary import (
    Attacker,
    Direction,
    FailedGate,
    Fusion,
    Mate,
    ScanRule,
)
from reidscope_server.report.drawing import percent
from reidscope_server.report.readings import Arm, Rated, arms, estimable
from reidscope_server.report.tail_words import tail_facts, tail_plain

_ATTACKERS = {
    Attacker.RAW: "compares embeddings as the recogniser gives them",
    Attacker.CALIBRATED: "takes the public means of each side off first, arm by arm",
    Attacker.REPAIRING: "calibrated, and fills what a defacer took from the average head first",
}
GATES = (
    "Gates are checks of a defaced scan by geometry alone: was there a face, is it gone, is the "
    "brain whole."
)


def found_means(asked: FaceExperiment) -> str:
    """Say what `found` means: whose rank counts, in which search."""
    scan = (
        "their head scan"
        if asked.scan_rule is ScanRule.FIRST_BY_DATE
        else f"any of their first {asked.scan_cap} head scans"
    )
    mate = "photo" if asked.mate is Mate.PHOTO else "second scan"
    if asked.direction is Direction.SAMPLE_TO_POPULATION:
        return (
            f"whose own {mate} ranks first when {scan} is searched in a gallery of that many "
            f"{mate}s with names"
        )
    ranked = (
        "whose own head scan ranks"
        if asked.scan_rule is ScanRule.FIRST_BY_DATE
        else f"of whose first {asked.scan_cap} head scans one ranks"
    )
    return (
        f"{ranked} first when their {mate}, which bears their name, is searched in a gallery of "
        "that many released scans"
    )


def facts(asked: FaceExperiment, report: Report) -> list[tuple[str, str]]:
    """Say how the attack was made, a term and its sentence at a time."""
    return [
        ("The attacker holds", _holds(asked)),
        ("Who searches whom", _searches(asked)),
        *((f"Attacker: {word}", _ATTACKERS[word]) for word in asked.attackers),
        ("Scans", _scans(asked)),
        ("Pictures", _renders(asked)),
        ("Recogniser", _recogniser(asked)),
        ("Who counts", report.study.cohort),
        *((("Groups", report.study.groups),) if report.study.groups else ()),
        ("A scan that fails a defacer's gates", _failed(asked)),
        *tail_facts(asked),
        ("Strangers", f"{asked.reference_size:,} public faces: {report.study.reference_people}"),
    ]


def plain(report: Report, asked: FaceExperiment) -> dict[str, str]:
    """Return a sentence for everybody beside each figure, by the figure's name."""
    unmodified, *defaced = arms(report)
    size = f"{unmodified.found[0].gallery_size:,}"
    said = {
        "rates": f"Among {size} faces, {of_row(unmodified.found[0])} are found by their "
        "unmodified scan" + "".join(f"; {_after(arm)}" for arm in defaced[:3]) + ".",
        "forest": _from_site_to_site(report, unmodified),
        "counts": "Each person was counted in one box, and every box was blurred with noise before "
        "it left a hospital.",
    }
    if report.by_group:
        said["groups"] = by_groups(report)
    if defaced:
        best = min(defaced, key=lambda arm: arm.worst.rate)
        rates = (unmodified.found[0], best.worst)
        hidden = of_100(max(0.0, rates[0].rate - rates[1].rate))
        hides = hidden if all(map(estimable, rates)) else "an unknown number of people"
        said |= {
            "effects": f"{best.name} hides {hides} whom their unmodified scan "
            f"gives away, and {_gates_of(best, asked)}.",
            "risk": "A good defacer stands at the lower left. "
            + " ".join(_bargain(arm) for arm in defaced[:3]),
            "gates": f"{GATES} " + " ".join(_checked(arm, asked) for arm in defaced[:3]),
        }
    return said | tail_plain(report)


def by_groups(report: Report) -> str:
    """Say how many of each group are found by their unmodified scan, and how sure that is."""
    rows = [(each.group.split("=", 1)[1], each.identification[0]) for each in report.by_group]
    told = "; ".join(f"{name}: {_of_a_group(row)}" for name, row in rows)
    return (
        f"Found by their unmodified scan, of 100 people of each group ({report.study.groups}) "
        f"{told}. Where two intervals overlap, the groups may well be alike."
    )


def _of_a_group(row: Identification) -> str:
    if not estimable(row):
        return "too few to say anything"
    shown = of_100(row.rate).removesuffix(" people")
    return f"{shown} ({100 * row.low:.0f} to {100 * row.high:.0f})"


def of_100(share: float) -> str:
    """Say a share as people of 100."""
    people = round(100 * share)
    return f"about {people} of 100 people" if people else "fewer than 1 of 100 people"


def of_row(row: Rated) -> str:
    """Say a rate as people of 100, or that the noise hides it."""
    return of_100(row.rate) if estimable(row) else "an unknown number of people"


def _after(arm: Arm) -> str:
    if arm.failed is None:
        return f"after {arm.name}, {of_row(arm.worst)}"
    return (
        f"after {arm.name}, {of_row(arm.worst)} "
        f"(its gates failed for {of_row(arm.failed).removesuffix(' people')})"
    )


def _gates_of(arm: Arm, asked: FaceExperiment) -> str:
    if arm.failed is None:
        return "has no gates"
    released = "kept back" if asked.failed_gate is FailedGate.NOT_RELEASED else "released anyway"
    return f"its gates failed for {of_row(arm.failed)}, whose scans were {released}"


def _bargain(arm: Arm) -> str:
    costs = [
        f"costs {of_row(arm.serious)} 1% of their brain or more" if arm.serious else "",
        f"fails its gates for {of_row(arm.failed)}" if arm.failed else "",
    ]
    said = " and ".join([f"leaves {of_row(arm.worst)} to be found", *filter(None, costs)])
    return f"{arm.name} {said}."


def _checked(arm: Arm, asked: FaceExperiment) -> str:
    return f"{arm.name}: {_gates_of(arm, asked)}."


def _from_site_to_site(report: Report, unmodified: Arm) -> str:
    row = unmodified.found[0]
    rates = [
        each.rate
        for each in report.by_site
        if (each.arm, each.gallery_size) == (row.arm, row.gallery_size) and estimable(each)
    ]
    if not rates:
        return (
            "No site's own table says how many people are found: its noise is larger than it."
            if report.by_site
            else "The hospitals' counts were added up under masks: nobody, the coordinator "
            "included, knows the count of any one of them."
        )
    if len(rates) < 2:  # noqa: PLR2004 (one site has nobody to be compared with)
        return f"One site alone can tell: {of_100(rates[0])} are found by their unmodified scan."
    return (
        f"From site to site, between {100 * min(rates):.0f} and {100 * max(rates):.0f} of 100 "
        "people are found by their unmodified scan; noise alone moves a small site by much."
    )


def _holds(asked: FaceExperiment) -> str:
    if asked.mate is Mate.PHOTO:
        return "a photo of each person, with the person's name"
    return "a second scan of each person, by date, with the person's name"


def _searches(asked: FaceExperiment) -> str:
    held = "photos" if asked.mate is Mate.PHOTO else "second scans"
    if asked.direction is Direction.SAMPLE_TO_POPULATION:
        return (
            f"{asked.direction}: a released scan is searched among {held} with names: whose is it?"
        )
    return f"{asked.direction}: {held} with names are searched among released scans: which is it?"


def _scans(asked: FaceExperiment) -> str:
    smallest = asked.anchors[0]
    guess = f"a guess finds at most {percent(asked.chance_percent / 100)} among {smallest:,} faces"
    if asked.scan_rule is ScanRule.FIRST_BY_DATE:
        said = f"{asked.scan_rule}: each person's first scan by date; {guess}"
    else:
        said = (
            f"{asked.scan_rule}: found in any of each person's first {asked.scan_cap} scans; "
            f"{guess}, {asked.scan_cap} times as many as with one scan"
        )
    return said + _modalities(asked)


def _modalities(asked: FaceExperiment) -> str:
    """Say what may be a scan, where that is not MR or CT, and what the public scans are."""
    if asked.scans == DEFAULT_SCANS:
        return ""
    said = f"; a scan is {' or '.join(asked.scans)} (PT is PET)"
    if not asked.other_domain:
        return said
    return (
        f"{said}; the attacker's public scans are {asked.public_scans}, another domain: one who "
        "has public scans of each kind may find more people"
    )


def _renders(asked: FaceExperiment) -> str:
    renders = asked.renders
    number = renders.views * renders.lights
    grey = ", in grey" if renders.grey else ""
    if number == 1:
        return f"1 picture of a scan, from the front, by one lamp{grey}"
    fused = "the mean of what they say" if renders.fusion is Fusion.MEAN else "the best fit counts"
    return (
        f"{number} pictures of a scan ({renders.views} views by {renders.lights} lamps){grey}: "
        f"{fused}"
    )


def _recogniser(asked: FaceExperiment) -> str:
    said = asked.recogniser
    networks = len(said.parts)
    return (
        f"{said.name}: {networks} network{'s' if networks > 1 else ''}, {said.dimension} numbers a "
        f"face; faces are found by {said.detector.name}"
    )


def _failed(asked: FaceExperiment) -> str:
    if asked.failed_gate is FailedGate.NOT_RELEASED:
        return f"{asked.failed_gate}: nobody gets it, so its person counts as not found"
    return f"{asked.failed_gate} all the same: defacers are measured as they work without gates"
