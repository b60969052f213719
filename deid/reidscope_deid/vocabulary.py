"""The words that a cleaned text may consist of: words.json."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
"""Where the words of a text are."""


@cache
def load_words() -> frozenset[bytes]:
    """Load the words that a cleaned text may consist of, in upper case."""
    listed = (word.encode("ascii") for word in _document()["words"])
    return frozenset(listed) | load_words_of_names().keys()


@cache
def load_words_of_names() -> Mapping[bytes, frozenset[bytes]]:
    """Load those of the words that are also names: beside which words they stay; none: anywhere."""
    rows: Mapping[str, list[str]] = _document()["words_of_names"]
    return {
        word.encode("ascii"): frozenset(one.encode("ascii") for one in beside)
        for word, beside in rows.items()
    }


def _document() -> dict[str, Any]:
    text = files("reidscope_deid").joinpath("data/words.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
