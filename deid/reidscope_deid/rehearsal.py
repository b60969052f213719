"""Whether one person's files would be taken, without writing one and without decoding a pixel.

What is left out for reasons that its bytes tell is told before anybody relies on it; whoever calls
`deidentify_files` afterwards on the same files is not surprised.
"""

from __future__ import annotations

import io
import mmap
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pydicom

from reidscope_deid.known import known_in
from reidscope_deid.part10 import deidentify_opened, open_part10
from reidscope_deid.pseudonyms import Namer
from reidscope_deid.reasons import QuarantinedError, Reason
from reidscope_deid.uids import UidMap
from reidscope_deid.verification import file_findings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reidscope_deid.engine import Piece
    from reidscope_deid.keys import SiteKey
    from reidscope_deid.profile import Profile


@dataclass(frozen=True, slots=True, repr=False)
class Rehearsal:
    """One key and one profile, made ready once for many people.

    Attributes
    ----------
    profile : Profile
        The rules.
    namer : Namer
        Names people.
    uids : UidMap
        New UIDs.
    """

    profile: Profile
    namer: Namer
    uids: UidMap

    @classmethod
    def of(cls, key: SiteKey, profile: Profile) -> Self:
        """Rehearsal of a site."""
        return cls(
            profile,
            Namer.of(key, whole_weeks=profile.whole_weeks),
            UidMap(key, retain=profile.retains_uids),
        )

    def check(self, files: Iterable[Path]) -> None:
        """Go through one person's series as `deidentify_files` would.

        Parameters
        ----------
        files : iterable of Path
            One person's; only read. Pixels are not decoded.

        Raises
        ------
        QuarantinedError
            One of the files would be left out: the first reason that was met.

        Privacy
        -------
        A function of one person's files, the site's key and the profile. Nothing is written
        (docs/privacy.md, "De-identification").
        """
        met: set[str] = set()
        paths = list(files)
        known = known_in(paths, profile=self.profile, namer=self.namer)
        for path in paths:
            new = deidentify_opened(
                open_part10(_mapped(path)),
                profile=self.profile,
                namer=self.namer,
                uids=self.uids,
                tally=Counter(),
                known=known,
            ).new
            if new.instance in met:
                raise QuarantinedError(Reason.CONFLICT)
            met.add(new.instance)
            self._verify(new.pieces)

    def _verify(self, pieces: Iterable[Piece]) -> None:
        """Have the independent reader look at the header, in memory."""
        try:
            with warnings.catch_warnings():
                # A warning of pydicom's holds the value that it is about.
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(io.BytesIO(b"".join(pieces)), stop_before_pixels=True)
                clean = next(file_findings(header, self.profile), None) is None
        except Exception:  # noqa: BLE001 - pydicom raises many kinds, with values in them
            clean = False
        if not clean:
            raise QuarantinedError(Reason.UNVERIFIED)


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        raise QuarantinedError(Reason.UNREADABLE) from None
