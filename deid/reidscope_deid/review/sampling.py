"""Which outputs a person looks at: a share of them, the same on every day, and what must be seen.

A file is drawn by the SHA-256 of its new UID. That UID is made under the site's key, so nobody
without the key can say beforehand which files will be drawn; whoever has the folder can check that
these are the ones.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pydicom

from reidscope_protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

_PURPOSE = b"reidscope/deid/contact-sheet/v1\0"
_TAGS = ["SOPInstanceUID", "SeriesInstanceUID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One output to look at.

    Attributes
    ----------
    path : Path
        Of the file.
    uid, series : str
        New SOP instance and series instance UIDs.
    review : bool
        Whether the record asks for a look at this very file.
    """

    path: Path
    uid: str
    series: str
    review: bool


def draw(
    files: Iterable[Path],
    *,
    share: float,
    review: Collection[str] = (),
    each_series: bool = False,
) -> tuple[Drawn, ...]:
    """Draw outputs to look at.

    Parameters
    ----------
    files : iterable of Path
        Of the output folder; what is no DICOM does not count.
    share : float
        Of the files, above 0 and at most 1; rounded up, so at least one.
    review : collection of str
        New UIDs of files that are always drawn, besides the share.
    each_series : bool
        Whether at least one file of each series is drawn.

    Returns
    -------
    tuple of Drawn
        Those to review first, then by series and UID.

    Raises
    ------
    ConfigError
        A share out of range.
    """
    if not 0 < share <= 1:
        raise ConfigError(
            "--share",
            got=f"{share}",
            expected="more than 0, at most 1",
            do="say 0.01 for one percent",
        )
    found = sorted(_found(files, frozenset(review)), key=lambda one: _lot(one.uid))
    others = [one for one in found if not one.review]
    chosen = {one.path: one for one in found if one.review}
    chosen |= {one.path: one for one in others[: math.ceil(share * len(others))]}
    if each_series:
        seen = {one.series for one in chosen.values()}
        for one in others:
            if one.series not in seen:
                seen.add(one.series)
                chosen[one.path] = one
    return tuple(sorted(chosen.values(), key=lambda one: (not one.review, one.series, one.uid)))


def _lot(uid: str) -> bytes:
    return hashlib.sha256(_PURPOSE + uid.encode()).digest()


def _found(files: Iterable[Path], review: frozenset[str]) -> Iterable[Drawn]:
    for path in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a warning of pydicom's holds the value
                head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        except Exception:  # noqa: BLE001, S112 - whatever is no DICOM; pydicom raises many kinds
            continue
        uid = str(head.get("SOPInstanceUID", ""))
        series = str(head.get("SeriesInstanceUID", ""))
        yield Drawn(path=path, uid=uid, series=series, review=uid in review)
