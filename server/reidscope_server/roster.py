"""The roster of a distributed study, held against the sites that are enrolled now.

A site signs its keys for a secure sum with the statement key that holds. A roster with another key,
of a site that has changed its key since the draft, or that is not enrolled any more, would fail
only when people have been evaluated: so it is refused before anybody is asked.
"""

from __future__ import annotations

from collections.abc import Collection

from reidscope_protocols.errors import InputError
from reidscope_protocols.study import Study
from reidscope_server.sites import EnrolledSite


def check_roster(study: Study, sites: Collection[EnrolledSite]) -> None:
    """Raise unless each key of the roster is the one with which its site signs now.

    Parameters
    ----------
    study : Study
        With local noise there is no roster, and nothing to check.
    sites : collection of EnrolledSite
        Every site that was ever enrolled.

    Raises
    ------
    InputError
        Keys that are not the enrolled ones, sites that are not enrolled or are revoked; the
        message names the sites.
    """
    if study.noise is None:
        return
    held = {site.name: site.key_record().public for site in sites if not site.revoked}
    strange = [site for site in study.audience if site not in held]
    if strange:
        raise InputError(
            "roster",
            got="sites that are not enrolled: " + ", ".join(strange),
            expected="every site of a study with distributed noise, enrolled",
            do="invite them, or draft the study again without them",
        )
    other = [site for site in study.audience if study.noise.key_of(site) != held[site]]
    if other:
        raise InputError(
            "roster",
            got="another key than the enrolled one, of " + ", ".join(other),
            expected="the statement key with which each site signs now",
            do="draft the study again: `study new` reads the keys of today",
        )
