"""Report -> one self-contained page: no script, no link, no font, nothing that asks the network.

A function of the report alone, so that `verify` can draw it again. Everything that came from
outside goes through jinja's escaping; only the figures, which are drawn here, do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.privacy import odds_said
from reidscope_protocols.report import Damage, FailedGates, Report
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.report.beyond import (
    OVER_SITES_SAYS,
    UNDETECTABLE,
    named,
    narrowing,
    places_shown,
    poolings,
)
from reidscope_server.report.boxes import COLUMNS_DRAWN
from reidscope_server.report.drawing import inlined, percent
from reidscope_server.report.figures import drawn_as_svg, sketches
from reidscope_server.report.methods import paragraphs
from reidscope_server.report.plots import sites_drawn
from reidscope_server.report.programs import differing
from reidscope_server.report.readings import (
    Arm,
    arms,
    attackers,
    chance,
    estimable,
    measured,
    people,
    released,
    signed_tables,
    unmodified,
)
from reidscope_server.report.tail_plots import MOST_ROWS
from reidscope_server.report.tail_words import MODELS, beyond, gates_said, thresholds
from reidscope_server.report.words import facts, found_means, plain

PAGE_FILE = "index.html"
_SUSPICIONS = (0.01, 0.1, 0.5)
_HASH_GROUP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One line of the provenance."""

    what: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """How sure anybody may become that a person took part, from how sure they were."""

    before: float
    after: float


def page(report: Report, drawn: Mapping[str, str] | None = None) -> str:
    """Draw the page.

    Parameters
    ----------
    report : Report
        Built by `build_report`; its notices and population stand at the page's head.
    drawn : mapping of str to str, optional
        Its figures as SVG, by name, where somebody has drawn them already.

    Returns
    -------
    str
        HTML, UTF-8.
    """
    environment = Environment(
        loader=PackageLoader("reidscope_server.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["estimable"] = estimable
    environment.filters.update(
        percent=percent,
        odds=odds_said,
        points=points,
        grouped=grouped,
        people=lambda share: f"{100 * share:.0f}",
    )
    study = Study.parse(peek_payload(report.evidence.study.encode()))
    every = arms(report)
    first = every[0].found[0]
    methods, results = paragraphs(report)
    return environment.get_template(
        "page.html.j2"
    ).render(
        report=report,
        study=study,
        figures={
            # Safe: drawn by matplotlib, which escapes text; no byte of it comes from elsewhere.
            name: Markup(inlined(name, svg))  # noqa: S704 (see above)
            for name, svg in (drawn or drawn_as_svg(sketches(report))).items()
        },
        plain=plain(report, study.experiment),
        facts=facts(study.experiment, report),
        found_means=found_means(study.experiment),
        methods=methods,
        results=results,
        first=first,
        arms=every,
        unmodified=unmodified(report),
        defaced=every[1:],
        poolings=poolings(report),
        failed_of={arm.name: arm.failed for arm in every},
        withstands=max(
            (row.withstands for row in report.robust if row.left_out is None), default=0
        ),
        named=named(report),
        narrowing=narrowing(report),
        places=list(places_shown(report)),
        over_sites_says=OVER_SITES_SAYS,
        undetectable=UNDETECTABLE,
        attackers=attackers(report),
        rows=[(row, _failed(every, row.arm)) for row in measured(report)],
        any_of=[(row, _failed(every, row.arm)) for row in report.after_any],
        by_chance=lambda size: chance(report, size),
        best=min(every[1:], key=lambda arm: arm.worst.rate, default=None),
        damage=_by_arm(report),
        gates_said=lambda name: gates_said(report, name),
        thresholds=thresholds(report),
        most_rows=MOST_ROWS,
        beyond=beyond(report),
        models=MODELS,
        differing=differing(report.programs),
        pull={
            row.site: row.change
            for row in report.influence
            if (row.arm, row.gallery_size) == (first.arm, first.gallery_size)
        },
        released=released(report),
        people=people(report),
        suspicions=[suspicion(before, report.privacy.odds_total) for before in _SUSPICIONS],
        digests=provenance(report),
        keys=[key for key in report.evidence.keys if key.role is not KeyRole.SITE],
        site_keys=[key for key in report.evidence.keys if key.role is KeyRole.SITE],
        sites_drawn=sites_drawn(report),
        boxes_added=sum(len(arm.found) for arm in every[1:]) > COLUMNS_DRAWN,
    )


def _failed(every: Sequence[Arm], name: str) -> FailedGates | None:
    return next((arm.failed for arm in every if arm.name == name), None)


def _by_arm(report: Report) -> dict[str, list[Damage]]:
    named = dict.fromkeys(row.arm for row in report.damage)
    return {name: [row for row in report.damage if row.arm == name] for name in named}


def suspicion(before: float, odds: float) -> Suspicion:
    """Bound what a reader may come to believe: posterior odds are at most e^epsilon the prior's."""
    after = odds * before / (1 - before)
    return Suspicion(before=before, after=after / (1 + after))


def provenance(report: Report) -> list[Digest]:
    """Return the sha256 of everything that the report rests on."""
    study = Study.parse(peek_payload(report.evidence.study.encode()))
    return [
        Digest(what="study", sha256=report.study_sha256),
        *(Digest(what=f"constant: {c.role}", sha256=c.sha256) for c in study.constants),
        *(
            Digest(
                what=f"release of {site}",
                sha256=hashlib.sha256(peek_payload(envelope.encode())).hexdigest(),
            )
            for site, envelope in signed_tables(report)
        ),
    ]


def points(share: float, digits: int = 0) -> str:
    """Write a difference as percentage points, with its sign."""
    number = f"{100 * share:+.{digits}f}"
    return number.replace("-", "\N{MINUS SIGN}") if float(number) else number[1:]


def grouped(digest: str) -> str:
    """Break 64 hexadecimal digits into groups that people can compare."""
    return " ".join(digest[i : i + _HASH_GROUP] for i in range(0, len(digest), _HASH_GROUP))
