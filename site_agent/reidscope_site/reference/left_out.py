"""Public people of whom a build has nothing: who they are, and why, for whoever listed them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidscope_protocols.errors import InputError
from reidscope_protocols.vocabulary import Mate
from reidscope_site.reference.people import Shown
from reidscope_site.synthetic.seeds import Population

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reidscope_site.reference.people import PublicSource
    from reidscope_site.reference.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A public person's picture or scan that gave no face.

    Attributes
    ----------
    population : Population
        What the person is for.
    who : str
        As the source names people.
    what : Shown
        What was looked at.
    why : str
        What is wrong with the file, or that no single face was found.
    """

    population: Population
    who: str
    what: Shown
    why: str


def needed(plan: Plan, *, gallery: bool = True) -> Iterator[tuple[Population, Shown, int]]:
    """Say what of how many people a plan looks at; without `gallery`, where it is taken over."""
    named = Shown.PHOTO if plan.mate is Mate.PHOTO else Shown.SECOND_SCAN
    if gallery:
        yield Population.GALLERY, Shown.SCAN if plan.searches_scans else named, plan.size
        yield Population.CALIBRATION, named, plan.calibration_photos
    yield Population.CALIBRATION, Shown.SCAN, plan.calibration_people
    yield Population.PROBE, named, plan.probe_people
    yield Population.PROBE, Shown.SCAN, plan.probe_people


def require(source: PublicSource, asked: Iterable[tuple[Population, Shown, int]]) -> None:
    """Refuse a list that has too few people, or lacks what is looked at of one of them.

    Raises
    ------
    InputError
        It says of which population, or on which line.
    """
    for population, what, count in asked:
        there = source.count(population)
        if there is not None and there < count:
            raise InputError(
                f"public people, {population}",
                got=f"{there}",
                expected=f"at least {count} with a {what.replace('_', ' ')}",
                do="add people to the list, or ask for fewer",
            )
        if there is None:
            continue
        for number in range(count):
            if source.lacks(population, number, what):
                raise InputError(
                    f"public people, {source.named(population, number)}",
                    got=f"no {what.replace('_', ' ')}",
                    expected=f"one: of the population {population} it is looked at",
                    do="name the file, or take the line out",
                )


def left_out(
    source: PublicSource, population: Population, what: Shown, numbers: Iterable[int]
) -> Iterator[LeftOut]:
    """Look again at those who gave no face."""
    for number in numbers:
        yield LeftOut(
            population=population,
            who=source.named(population, number),
            what=what,
            why=source.problem(population, number, what)
            or ("no single face" if what is Shown.PHOTO else "no head with a face"),
        )
