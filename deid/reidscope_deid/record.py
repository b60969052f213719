"""What was done, in counts by tag, action and reason. Never a value, a name or a path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reidscope_deid.profile import Profile
    from reidscope_deid.reasons import Reason

SCHEMA = "reidscope.deid-record/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one run did.

    Attributes
    ----------
    profile : str
        Its name.
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

    Privacy
    -------
    Counts of the site's own files: exact, for the site's own eyes. Holds no value of an element.
    """

    profile: str
    edition: str
    codes: tuple[str, ...]
    written: int
    duplicates: int
    people: int
    left_out: Mapping[Reason, int]
    review: tuple[str, ...]
    actions: Mapping[str, Mapping[str, int]]

    @property
    def failures(self) -> int:
        """Files left out though they should have been taken."""
        return sum(count for reason, count in self.left_out.items() if not reason.by_design)

    def document(self) -> dict[str, object]:
        """Say the record as JSON takes it."""
        return {
            "schema": SCHEMA,
            "profile": self.profile,
            "edition": self.edition,
            "codes": list(self.codes),
            "files": {
                "written": self.written,
                "duplicates": self.duplicates,
                "left_out": {
                    reason.value: count for reason, count in sorted(self.left_out.items())
                },
            },
            "people": self.people,
            "review": list(self.review),
            "actions": {tag: dict(done) for tag, done in self.actions.items()},
        }


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
    for (tag, action), count in tally.items():
        label = f"{tag:08X}" if isinstance(tag, int) else tag
        actions.setdefault(label, {})[action] = count
    return Record(
        profile=profile.name,
        edition=profile.edition,
        codes=tuple(code for code, _ in profile.method_codes),
        written=written,
        duplicates=duplicates,
        people=people,
        left_out=dict(sorted(left_out.items())),
        review=review,
        actions={tag: dict(sorted(actions[tag].items())) for tag in sorted(actions)},
    )
