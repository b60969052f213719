"""What the outputs hold, counted from the outputs themselves by pydicom, not by the engine."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pydicom

from reidscope_deid.record import Record, Standing, named_rule

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydicom.dataset import Dataset

    from reidscope_deid.profile import Profile

_LARGE = 1 << 12  # bytes; larger values are not read
_DECLARED = {
    0x00120062: "what the file says of itself",
    0x00120063: "what the file says of itself",
    0x00120064: "what the file says of itself",
    0x00280303: "what the file says of itself",
}
_CODES = frozenset({0x00080100, 0x00080102, 0x00080104})
_SEALED = 0x04000500


def with_standing(record: Record, files: Iterable[Path], profile: Profile) -> Record:
    """Record with what the outputs hold.

    Parameters
    ----------
    record : Record
        Of the run.
    files : iterable of Path
        Every file of the output folder.
    profile : Profile
        What they were written under.
    """
    found: Counter[int | str] = Counter()
    for path in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning of pydicom's holds the value it is about
            found.update(_tags(pydicom.dcmread(path, defer_size=_LARGE)))
    standing = (_standing(profile, tag, count) for tag, count in found.items())
    return replace(record, standing=tuple(sorted(standing, key=lambda one: one.tag)))


def _tags(data_set: Dataset) -> set[int | str]:
    tags: set[int | str] = set()
    for tag in data_set.keys():  # noqa: SIM118 - iterating a Dataset itself would decode every value
        tags.add("private" if tag.is_private else int(tag))
        if data_set.get_item(tag).VR == "SQ" or _is_sequence(data_set, int(tag)):
            for item in data_set[tag].value:
                tags |= _tags(item)
    return tags


def _is_sequence(data_set: Dataset, tag: int) -> bool:
    return data_set.get_item(tag).VR is None and data_set[tag].VR == "SQ"


def _standing(profile: Profile, tag: int | str, files: int) -> Standing:
    if isinstance(tag, str):
        why = "PS3.15 Table E.3.10-1"
        return Standing(tag=tag, name="Private attributes", action="keep", files=files, why=why)
    name, why = named_rule(profile, tag)
    rule = profile.rules.get(tag) or profile.content.get(tag)
    action = "declared" if rule is None else rule.action.value
    if rule is None and tag in _CODES:
        action, why = "codes", "parts of public codes, in public words"
    elif tag in _DECLARED:
        action, why = "declared", _DECLARED[tag]
    elif tag == _SEALED:
        action, why = "sealed", "encrypted for the certificate's holder"
    return Standing(tag=f"{tag:08X}", name=name, action=action, files=files, why=why)
