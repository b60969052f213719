"""What was done, element by element, in counts. Never a value, a name, a path or a time of day.

So the same input under the same key and profile gives the same record, on any day.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pydicom
from pydicom.datadict import dictionary_description, dictionary_has_tag

from reidscope_deid.faces import FACES
from reidscope_deid.options import CODE_MEANINGS
from reidscope_deid.table import load_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reidscope_deid.keys import SiteKey
    from reidscope_deid.profile import Profile
    from reidscope_deid.reasons import Reason

SCHEMA = "reidscope.deid-record/2"
_KEY_BRANCH = b"reidscope/deid/key-name/v1"
_KEY_DIGITS = 16
_GROUPS = {
    "private": ("Private attributes", "PS3.15 basic X"),
    "unknown": ("Attributes on no list", "neither in Table E.1-1 nor on the keep-list"),
    "content": ("Content items", "PS3.15 Table E.3.4-1"),
    "pixels": ("Pixel Data", "declared, CID 7050"),
    FACES: ("Faces", "a defacer's own count, series by series"),
}
_SAFE_PRIVATE = "PS3.15 Table E.3.10-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done with one attribute, over all files and at every depth.

    Attributes
    ----------
    tag : str
        Eight hexadecimal digits, or ``private``, ``unknown``, ``content``, ``pixels``, ``faces``.
    name : str
        As in PS3.6.
    action : str
        One of `Action`; of ``pixels``, a code of CID 7050; of ``faces``, what was counted.
    count : int
        Elements; of ``faces``, series.
    source : str
        The rule's, such as ``PS3.15 basic X/Z``.
    """

    tag: str
    name: str
    action: str
    count: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One attribute that the outputs hold, as another reader counted them.

    Attributes
    ----------
    tag, name : str
        Eight hexadecimal digits or ``private``, and as in PS3.6.
    action : str
        What the profile does with it.
    files : int
        Outputs that hold it, at any depth.
    why : str
        What it is kept for, or the rule's source.
    """

    tag: str
    name: str
    action: str
    files: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one run did.

    Attributes
    ----------
    profile : str
        Its name.
    options : tuple of str
        Options of PS3.15 that were applied.
    dates : str
        What each output says of its dates: REMOVED, MODIFIED or UNMODIFIED.
    edition : str
        Edition of PS3.15.
    codes : tuple of str
        CID 7050 codes that the output declares.
    written : int
        Files.
    duplicates : int
        Files whose output was there already, byte for byte.
    people : int
        Pseudonyms.
    left_out : mapping
        Files by reason.
    review : tuple of str
        SOP instance UIDs, the new ones, of outputs that a person should look at.
    actions : mapping
        Elements by tag (eight hexadecimal digits, ``private`` or ``unknown``), then by action; kept
        ones do not count.
    sources : mapping
        Name and rule's source, by tag as in `actions`.
    key : str
        Name of the key: tells two keys apart, and says nothing of either. Empty if not said.
    standing : tuple of Standing
        What the outputs hold; empty where nobody counted.

    Privacy
    -------
    Counts of the site's own files: exact, for the site's own eyes. Holds no value of an element
    (docs/privacy.md, "De-identification").
    """

    profile: str
    options: tuple[str, ...] = ()
    dates: str = ""
    edition: str
    codes: tuple[str, ...]
    written: int
    duplicates: int
    people: int
    left_out: Mapping[Reason, int]
    review: tuple[str, ...]
    actions: Mapping[str, Mapping[str, int]]
    sources: Mapping[str, tuple[str, str]]
    key: str = ""
    standing: tuple[Standing, ...] = ()

    @property
    def failures(self) -> int:
        """Files left out though they should have been taken."""
        return sum(count for reason, count in self.left_out.items() if not reason.by_design)

    @property
    def elements(self) -> tuple[Done, ...]:
        """What was done, by tag and action."""
        return tuple(
            Done(
                tag=tag,
                name=self.sources[tag][0],
                action=action,
                count=count,
                source=_SAFE_PRIVATE
                if (tag, action) == ("private", "keep")
                else self.sources[tag][1],
            )
            for tag, done in self.actions.items()
            for action, count in done.items()
        )

    def document(self) -> dict[str, object]:
        """Say the record as JSON takes it."""
        return {
            "schema": SCHEMA,
            "profile": self.profile,
            "options": list(self.options),
            "dates": self.dates,
            "edition": self.edition,
            "codes": list(self.codes),
            "meanings": {code: CODE_MEANINGS[code] for code in self.codes},
            "key": self.key,
            "made_by": _versions(),
            "files": {
                "written": self.written,
                "duplicates": self.duplicates,
                "left_out": {
                    reason.value: count for reason, count in sorted(self.left_out.items())
                },
            },
            "people": self.people,
            "review": list(self.review),
            "elements": [asdict(one) for one in self.elements],
            "standing": [asdict(one) for one in self.standing],
        }


def key_name(key: SiteKey) -> str:
    """Name of a key: the same each time, another for every other key.

    Parameters
    ----------
    key : SiteKey
        A site's, or one of its studies'.

    Privacy
    -------
    64 bits of a branch of their own: nothing that the key makes can be computed from them
    (docs/privacy.md, "De-identification").
    """
    return f"K-{key.branch(_KEY_BRANCH).hex()[:_KEY_DIGITS]}"


def make_record(
    profile: Profile,
    *,
    tally: Counter[tuple[int | str, str]],
    left_out: Counter[Reason],
    written: int,
    duplicates: int,
    people: int,
    review: tuple[str, ...] = (),
) -> Record:
    """Make the record of a run, in a fixed order."""
    actions: dict[str, dict[str, int]] = {}
    sources: dict[str, tuple[str, str]] = {}
    for (tag, action), count in tally.items():
        label = f"{tag:08X}" if isinstance(tag, int) else tag
        actions.setdefault(label, {})[action] = count
        sources[label] = (
            _GROUPS.get(tag, (tag, "")) if isinstance(tag, str) else named_rule(profile, tag)
        )
    return Record(
        profile=profile.name,
        options=tuple(sorted(profile.options)),
        dates=profile.dates,
        edition=profile.edition,
        codes=tuple(code for code, _ in profile.method_codes),
        written=written,
        duplicates=duplicates,
        people=people,
        left_out=dict(sorted(left_out.items())),
        review=review,
        actions={tag: dict(sorted(actions[tag].items())) for tag in sorted(actions)},
        sources=dict(sorted(sources.items())),
    )


def named_rule(profile: Profile, tag: int) -> tuple[str, str]:
    """Name of an attribute, and the source of what the profile does with it."""
    listed = _listed().get(tag)
    rule = profile.rules.get(tag) or profile.content.get(tag)
    name = dictionary_description(tag) if dictionary_has_tag(tag) else "not in the dictionary"
    if rule is not None:
        return (name if listed is None else listed[0], rule.why)
    return listed if listed is not None else (name, _GROUPS["unknown"][1])


@cache
def _listed() -> Mapping[int, tuple[str, str]]:
    return {
        row.number: (row.name, f"PS3.15 basic {row.basic}")
        for row in load_table().rows
        if row.number is not None
    }


@cache
def _versions() -> dict[str, str]:
    try:
        ours = version("reidscope")
    except PackageNotFoundError:  # run from a folder that nobody installed
        ours = "not installed"
    return {"reidscope": ours, "pydicom": pydicom.__version__}
