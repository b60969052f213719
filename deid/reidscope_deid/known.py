"""Words that identify a person, gathered from the headers of all of the person's files in a run.

    files -> headers -> words by patient and by study -> what no text of those may keep

A name in one file's header is looked for in every text of the same patient or study, so what is
left of a text depends on the files that are in the run, and not on their order.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from reidscope_deid.part10 import explicit_again, open_part10, person_of
from reidscope_deid.reasons import QuarantinedError
from reidscope_deid.words import known_words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reidscope_deid.part10 import Opened
    from reidscope_deid.profile import Profile
    from reidscope_deid.pseudonyms import Namer, Person

_STUDY = 0x0020000D
_Key = TypeVar("_Key", str, bytes)


@dataclass(slots=True, repr=False)
class KnownWords:
    """Words by patient and by study.

    Privacy
    -------
    Identifiers: for comparison in memory alone (docs/privacy.md, "De-identification").
    """

    _by_person: dict[str, frozenset[bytes]] = field(default_factory=dict)
    _by_study: dict[bytes, frozenset[bytes]] = field(default_factory=dict)

    def add(self, opened: Opened, person: Person, words: frozenset[bytes]) -> None:
        """Take in the words of one file."""
        _add(self._by_person, person.identity, words)
        _add(self._by_study, _study(opened), words)

    def of(self, opened: Opened, person: Person) -> frozenset[bytes]:
        """Words that no text of this file may keep; its own among them only if it was taken in."""
        mine = self._by_person.get(person.identity, frozenset())
        return mine | self._by_study.get(_study(opened), frozenset())


def known_in(files: Iterable[Path], *, profile: Profile, namer: Namer) -> KnownWords:
    """Gather the words of every file that can be opened, whether it is taken or not.

    Parameters
    ----------
    files : iterable of Path
        Only read, and of each only what the header needs.
    profile : Profile
        If it judges no words, no file is opened.
    namer : Namer
        Tells whose a file is.
    """
    known = KnownWords()
    if not profile.judges_words:
        return known
    for path in files:
        try:
            with path.open("rb") as stream:
                data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            opened = open_part10(data)
            person = person_of(opened, namer)
            words = _words(opened, profile)
        except (QuarantinedError, OSError, ValueError):
            # Left out with its own reason when its turn comes.
            continue
        known.add(opened, person, words)
    return known


def _words(opened: Opened, profile: Profile) -> frozenset[bytes]:
    try:
        return known_words(opened.data, opened.elements, opened.encoding, profile)
    except QuarantinedError as refused:
        again = explicit_again(opened, refused)
        return known_words(again.data, again.elements, again.encoding, profile)


def _add(groups: dict[_Key, frozenset[bytes]], key: _Key, words: frozenset[bytes]) -> None:
    have = groups.get(key, frozenset())
    if key and not words <= have:
        groups[key] = have | words


def _study(opened: Opened) -> bytes:
    return opened.value(_STUDY)
