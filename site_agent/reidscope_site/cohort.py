"""Who of a site's index a study measures, and of which group each of them is."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from reidscope_deid.keys import SiteKey
from reidscope_protocols.cohort import DEFAULT_SCANS, Cohort, Modality, Sample
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.study import Study
from reidscope_site.attributes import Attributes
from reidscope_site.snapshot import Person, Scan

_SAMPLE_DOMAIN = b"reidscope/cohort-sample/v1"
_SAMPLE_BITS = 64
_PPM = 1_000_000


def cohort_of(people: Iterable[Person], study: Study, key: SiteKey) -> Iterator[Person]:
    """Yield everybody with the study's scans and kind of mate who meets its cohort, in order.

    Everybody is yielded as the study sees them: `as_asked`.

    Privacy
    -------
    Each person is looked at alone: adding or removing anybody else moves nobody in or out
    (docs/privacy.md, "Cohorts"). How many there are stays here: nothing is refused for it.
    """
    mate = study.experiment.mate
    yield from (
        one
        for one in seen_by(people, study.experiment)
        if one.has(mate) and meets(one, study.cohort, key)
    )


def seen_by(people: Iterable[Person], experiment: FaceExperiment) -> Iterator[Person]:
    """Yield everybody with a scan that an experiment takes, as it sees them."""
    for one in people:
        seen = as_asked(one, experiment.scans)
        if seen is not None:
            yield seen


def as_asked(person: Person, scans: Collection[Modality]) -> Person | None:
    """Return one person with the scans of some modalities alone, one a date; None without any.

    Parameters
    ----------
    person : Person
        Of the index.
    scans : collection of Modality
        What may be a scan. Of the modalities of a date the first by `finder`'s order is taken: a
        PET never takes the place of an MR or a CT that the study asks for too.

    Privacy
    -------
    A function of one person's index and the signed study (docs/privacy.md, "Cohorts").
    """
    if set(scans) == set(DEFAULT_SCANS):
        return person if person.scans else None
    of_a_date: dict[str, Scan] = {}
    for scan in (*person.scans, *person.others):
        if scan.attributes.modality in scans:
            of_a_date.setdefault(scan.taken, scan)
    if not of_a_date:
        return None
    kept = tuple(of_a_date[taken] for taken in sorted(of_a_date))
    return replace(
        person,
        scans=kept,
        others=(),
        attributes=replace(kept[0].attributes, group=person.attributes.group),
    )


def meets(person: Person, cohort: Cohort, key: SiteKey) -> bool:
    """Tell whether one person meets every condition; what is not known meets none."""
    known = person.attributes
    return (
        (not cohort.sexes or known.sex in cohort.sexes)
        and (cohort.ages is None or cohort.ages.holds(known.age_years))
        and (not cohort.modalities or known.modality in cohort.modalities)
        and (cohort.years is None or cohort.years.holds(known.year))
        and all(person.has(mate) for mate in cohort.mates)
        and (cohort.sample is None or drawn(person.pseudonym, cohort.sample, key))
    )


def drawn(pseudonym: str, sample: Sample, key: SiteKey) -> bool:
    """Tell whether one person is in a keyed sample.

    Returns
    -------
    bool
        True with the sample's chance over site keys; the same for ever for one person, salt and
        key. A larger share of one salt holds every smaller one.

    Privacy
    -------
    A function of that person's pseudonym, the site key and the study's salt: nobody outside the
    site knows who is in it, and no epsilon is saved by it (docs/privacy.md, "Cohorts").
    """
    bound = f"{sample.salt}\0{pseudonym}".encode()
    digest = hmac.digest(key.branch(_SAMPLE_DOMAIN), bound, "sha256")
    place = int.from_bytes(digest[: _SAMPLE_BITS // 8], "big")
    return place * _PPM < sample.share_ppm << _SAMPLE_BITS


def in_group(
    places: tuple[int, ...], person: Person, experiment: FaceExperiment
) -> tuple[int, ...]:
    """Move a person's place in the joint table, the first of `places`, into their group's part.

    Privacy
    -------
    One person's cell becomes another one cell of the same person's (docs/privacy.md, "Groups").
    """
    groups = experiment.groups
    if groups is None:
        return places
    group = groups.place(_attribute(person.attributes, groups))
    return (group * len(experiment.cells()) + places[0], *places[1:])


def _attribute(known: Attributes, groups: Groups) -> str | int | None:
    return {
        GroupedBy.SEX: known.sex,
        GroupedBy.AGE: known.age_years,
        GroupedBy.MODALITY: known.modality,
        GroupedBy.GROUP: known.group,
    }[groups.by]
