"""Opt-outs: people who are left out at `index`, before anything about anybody is counted.

One PatientID, or BIDS participant, a line; empty lines and lines that begin with # say nothing. A
list may name people of whom this site has no scans: it can be the hospital's own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.errors import LinkError
from reidscope_site.sources.facts import patient_identity

_COMMENT = "#"
_PARTICIPANT = "sub-"
_SEPARATORS = ",;\t"
_QUOTES = "\"'"


@dataclass(frozen=True, slots=True, repr=False)
class OptOuts:
    """Who opted out.

    Privacy
    -------
    Holds the site's own PatientIDs: stays in memory and never leaves the site (docs/privacy.md,
    "Neighbours").
    """

    ids: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return "OptOuts(...)"

    def __contains__(self, patient: str) -> bool:
        """Tell whether a person, as the source names them, opted out."""
        who = patient_identity(patient)
        return who in self.ids or who.removeprefix(_PARTICIPANT) in self.ids

    def check_spelling(self, known: Collection[str]) -> None:
        """Raise LinkError if a line names somebody with more beside: a column, quotes.

        Such a line would leave nobody out, and nobody would notice.
        """
        people = set(known) | {patient.removeprefix(_PARTICIPANT) for patient in known}
        for line in self.ids - people:
            parts = [line]
            for separator in _SEPARATORS:
                parts = [inner for part in parts for inner in part.split(separator)]
            if any(patient_identity(part.strip().strip(_QUOTES)) in people for part in parts):
                raise LinkError(
                    "exclude file",
                    got="a line that holds a known ID and something beside it",
                    expected="one ID a line, without quotes or columns",
                    do="write the column of IDs alone into the file",
                )


NOBODY = OptOuts()


def read_opt_outs(path: Path) -> OptOuts:
    """Read the site's opt-outs.

    Raises
    ------
    LinkError
        The file cannot be read: nobody is indexed without it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        # The reason could quote the file's path or bytes; the kind of fault says enough.
        raise LinkError(
            "exclude file",
            got="no readable UTF-8 text file",
            expected="one PatientID a line",
            do="correct `exclude` in site.toml or the file",
        ) from None
    named = (patient_identity(line) for line in lines if not line.startswith(_COMMENT))
    return OptOuts(frozenset(one for one in named if one))
