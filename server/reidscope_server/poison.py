"""Policies against releases that are no honest table of this study and this site.

Each refuses only what an honest site sends with a probability below `FALSE_ALARM` (1e-9), computed
from the noise alone (a copy of another site's: 1e-6, with people's own spread as a model); where a
table is too small for that, it is admitted. What they cannot see is a
plausible lie: counts that another cohort could have had, with noise of the right size. Nobody can
check those without the data; the report shows what each site's release moves, and robust rows that
one such site cannot decide.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import ImplausibleError, ReplayedError
from reidscope_protocols.privacy import NANO
from reidscope_protocols.statements import Decision, Release, ReleasedTable
from reidscope_protocols.study import Study
from reidscope_server.admission import ReleasePolicy
from reidscope_server.huddles import even_by_chance, huddled_by_chance, together_by_chance
from reidscope_server.noise_tails import (
    COPY_ALARM,
    EVEN_ALARM,
    FALSE_ALARM,
    alike_by_chance,
    likeliest,
    met_by_another_site,
    sum_reach,
)

LARGEST_FACTOR = 10
"""People are declared before anything is counted: so far off may a person's guess be."""


def epsilon_of(table: ReleasedTable) -> float:
    """Epsilon of one released table, as a float."""
    return table.epsilon_nano / NANO


@dataclass(frozen=True, slots=True)
class TotalOfItsSize:
    """Each table's noisy total is one that the declared size and the noise can give."""

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare each total with the declared people, tenfold, and with nothing at all."""
        del study
        most = LARGEST_FACTOR * release.statement.declared_people
        for table in release.statement.tables:
            reach = math.ceil(sum_reach([(len(table.counts), epsilon_of(table))]))
            total = sum(table.counts)
            if not -reach <= total <= most + reach:
                raise ImplausibleError(
                    "release",
                    got=f"a noisy total of {total} people",
                    expected=f"{-reach} to {most + reach}, for {release.statement.declared_people} "
                    "declared people and the noise",
                    do="refuse it and ask the site",
                )


@dataclass(frozen=True, slots=True)
class SamePeopleInEveryTable:
    """All tables of a release count the same people: their totals differ by noise alone."""

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare every table's total with the first one's."""
        del study
        first, *others = release.statement.tables
        for other in others:
            pair = (first, other)
            reach = math.ceil(sum_reach([(len(t.counts), epsilon_of(t)) for t in pair]))
            apart = abs(sum(first.counts) - sum(other.counts))
            if apart > reach:
                raise ImplausibleError(
                    "release",
                    got=f"two tables whose totals differ by {apart} people",
                    expected=f"at most {reach}: both count the same people",
                    do="refuse it and ask the site whether a table is another cohort's",
                )


@dataclass(frozen=True, slots=True)
class ShowsItsNoise:
    """The tables vary as noise of their size, and people, make them vary.

    A constant or nearly constant table is caught, and one whose empty cells stayed empty: by noise
    alone (each table, and all of a release together, false alarms `FALSE_ALARM`) where there are
    cells enough, and of few cells by how evenly people would have to fall into them (`EVEN_ALARM`,
    which needs a model of people).
    """

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Ask how often noise leaves counts so close together, and people cells so even."""
        del study
        tables = release.statement.tables
        chances = [huddled_by_chance(table.counts, epsilon_of(table)) for table in tables]
        if 2 * min(len(chances) * min(chances), together_by_chance(chances)) <= FALSE_ALARM:
            table = tables[chances.index(min(chances))]
            ((_, alike),) = Counter(table.counts).most_common(1)
            raise ImplausibleError(
                "release",
                got=f"one same number in {alike} of {len(table.counts)} cells"
                if alike_by_chance(len(table.counts), alike, epsilon_of(table)) <= FALSE_ALARM
                else "counts that lie closer together than their noise leaves them",
                expected="counts that differ as noise of this size makes them",
                do="refuse it and ask the site: no honest release looks so",
            )
        for table in tables:
            if len(tables) * even_by_chance(table.counts, epsilon_of(table)) <= EVEN_ALARM:
                raise ImplausibleError(
                    "release",
                    got=f"{len(table.counts)} cells that hold as good as one same number",
                    expected="cells that people fill as unevenly as people do",
                    do="refuse it and ask the site: no table of people looks so",
                )


@dataclass(frozen=True, slots=True)
class NobodysCopy:
    """The counts are no copy of a release that is known already: this site's, or another's.

    Attributes
    ----------
    known : collection of Release
        Every release that was admitted before, in any study.
    """

    known: Collection[Release]

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare counts table by table with every known release."""
        said = release.statement
        others = [
            other
            for other in self.known
            if (other.site, other.study_sha256) != (said.site, study.sha256)
        ]
        for other in others:
            own = other.site == said.site
            most = FALSE_ALARM if own else COPY_ALARM
            if len(others) * copied_by_chance(said, other) <= most:
                whose = "its own" if own else "another site's"
                raise ReplayedError(
                    "release",
                    got=f"the counts of {whose} earlier release",
                    expected="counts with noise of their own",
                    do="refuse it and ask the site which study's table it sent",
                )


def copied_by_chance(ours: Release, theirs: Release) -> float:
    """Bound the probability that two releases share the tables that they share by chance.

    Returns
    -------
    float
        Over the cells of all tables with the same counts, the product of tanh(epsilon / 2) for one
        site's releases, whose people may be the same; of `met_by_another_site` for two sites'. 1
        where no table agrees.
    """
    held = {table.table: table.counts for table in theirs.tables}
    same = [table for table in ours.tables if held.get(table.table) == table.counts]
    if ours.site == theirs.site:
        return math.prod(likeliest(epsilon_of(table)) ** len(table.counts) for table in same)
    return math.prod(
        met_by_another_site(count, epsilon_of(table)) for table in same for count in table.counts
    )


@dataclass(frozen=True, slots=True)
class AsDecided:
    """The release declares the size under which the site's people said yes.

    Attributes
    ----------
    decision : Decision or None
        The site's last one; of a version that declared no size there, nothing is compared.
    """

    decision: Decision | None

    def check(self, release: Opened[Release], study: Opened[Study]) -> None:
        """Compare the declared sizes; an honest site's never differ."""
        del study
        approved = self.decision.declared_people if self.decision else None
        if approved not in {None, release.statement.declared_people}:
            raise ImplausibleError(
                "release",
                got=f"{release.statement.declared_people} declared people",
                expected=f"{approved}, as the site's approval says",
                do="refuse it and ask the site",
            )


def against_poison(
    decision: Decision | None, known: Collection[Release]
) -> tuple[ReleasePolicy, ...]:
    """Return every policy of this module, for one site's release."""
    return (
        AsDecided(decision),
        TotalOfItsSize(),
        SamePeopleInEveryTable(),
        ShowsItsNoise(),
        NobodysCopy(known),
    )
