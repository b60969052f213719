"""A JSON sidecar, rebuilt from what the allow-list names: what is not named never gets in."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from reidscope_deid.bids.allowed import allowed
from reidscope_deid.reasons import QuarantinedError, Reason

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

_LARGEST = 16 << 20  # bytes


def clean_sidecar(path: Path, tally: Counter[str]) -> bytes:
    """Clean one sidecar.

    Parameters
    ----------
    path : Path
        Only read.
    tally : Counter
        Learns how many keys were kept and dropped.

    Returns
    -------
    bytes
        JSON of the keys that stay, sorted.

    Raises
    ------
    QuarantinedError
        No JSON object, or too large a file.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise QuarantinedError(Reason.TOO_LARGE)
        said = json.loads(path.read_bytes())
    except OSError:
        raise QuarantinedError(Reason.UNREADABLE) from None
    except (ValueError, RecursionError):
        raise QuarantinedError(Reason.MALFORMED) from None
    if not isinstance(said, dict):
        raise QuarantinedError(Reason.MALFORMED)
    kept = {key: value for key, value in said.items() if _stays(key, value)}
    tally["keys kept"] += len(kept)
    tally["keys dropped"] += len(said) - len(kept)
    return (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode()


def _stays(key: str, value: Any) -> bool:
    rules = allowed()
    if key in rules.numbers:
        return _is_number(value)
    if key in rules.flags:
        return isinstance(value, bool)
    if key in rules.vectors:
        short = isinstance(value, list) and len(value) <= rules.vectors[key]
        return short and all(_is_number(each) for each in value)
    pattern = rules.codes.get(key)
    texts = value if isinstance(value, list) else [value]
    return pattern is not None and all(
        isinstance(each, str) and pattern.fullmatch(each) for each in texts
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
