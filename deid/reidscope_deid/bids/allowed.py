"""The allow-list of a BIDS dataset, read once from `allowed.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderLayout:
    """Which bytes of a NIfTI header stay.

    Attributes
    ----------
    size : int
        Bytes of the header.
    kept : tuple of (int, int)
        Ranges, first byte and the one behind the last.
    """

    size: int
    kept: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What may stay; every pattern is matched whole.

    Attributes
    ----------
    suffixes : frozenset of str
        Of images.
    labels : mapping of str to pattern
        Entity to labels that stay as they are.
    numbers, flags : frozenset of str
        Sidecar keys with one number, or true or false.
    vectors : mapping of str to int
        Sidecar keys with numbers, and how many at most.
    codes : mapping of str to pattern
        Sidecar keys with a text, or several.
    participants : mapping of str to pattern
        Columns of participants.tsv.
    headers : mapping of int to HeaderLayout
        By the header's size, as its first bytes say it.
    bits : mapping of int to int
        NIfTI data type to bits a voxel.
    """

    suffixes: frozenset[str]
    labels: Mapping[str, re.Pattern[str]]
    numbers: frozenset[str]
    flags: frozenset[str]
    vectors: Mapping[str, int]
    codes: Mapping[str, re.Pattern[str]]
    participants: Mapping[str, re.Pattern[str]]
    headers: Mapping[int, HeaderLayout]
    bits: Mapping[int, int]


@cache
def allowed() -> Allowed:
    """Read the allow-list that ships with the package."""
    text = resources.files("reidscope_deid.bids").joinpath("allowed.toml").read_text("utf-8")
    raw = tomllib.loads(text)
    layouts = [
        HeaderLayout(size=one["size"], kept=tuple((first, end) for first, end in one["kept"]))
        for one in (raw["nifti1"], raw["nifti2"])
    ]
    sidecar = raw["sidecar"]
    return Allowed(
        suffixes=frozenset(raw["suffixes"]),
        labels=_patterns(raw["labels"]),
        numbers=frozenset(sidecar["numbers"]),
        flags=frozenset(sidecar["flags"]),
        vectors=dict(sidecar["vectors"]),
        codes=_patterns(sidecar["codes"]),
        participants=_patterns(raw["participants"]),
        headers={layout.size: layout for layout in layouts},
        bits={int(kind): bits for kind, bits in raw["bits"].items()},
    )


def _patterns(texts: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(text) for name, text in texts.items()}
