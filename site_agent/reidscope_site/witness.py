"""A second memory of where the ledger stands, on another volume: an older ledger is noticed.

    announce (before the commit) -> commit -> confirm (before anything is sampled)

Between announcing and confirming, the ledger may stand where it stood or where it was going; at any
other time, at one place alone. Whoever restores an older database and forgets the witness is
refused; whoever restores both together, and has the coordinator on their side, is not noticed
(docs/privacy.md, "What is NOT protected").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from reidscope_protocols.durable import write_durably
from reidscope_protocols.errors import LedgerError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.statements import LedgerHead


class Seen(BaseModel):
    """What a witness file holds.

    Attributes
    ----------
    instance : str
        Which ledger it watches.
    previous : LedgerHead or None
        Where the ledger may still stand: while a commit is under way.
    current : LedgerHead
        Where it stands, or is going.
    spent_nano : int
        All charges up to `current`, nano-epsilon.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    schema_name: Literal["reidscope.witness/1"] = "reidscope.witness/1"
    instance: str
    previous: LedgerHead | None
    current: LedgerHead
    spent_nano: int

    def allows(self, instance: str, head: LedgerHead) -> bool:
        """Whether a ledger may stand at `head`."""
        return instance == self.instance and head in (self.previous, self.current)


@dataclass(frozen=True, slots=True)
class Witness:
    """One file, replaced whole and fsynced each time."""

    path: Path

    def read(self) -> Seen | None:
        """Return what was seen last, None if there is no file.

        Raises
        ------
        LedgerError
            A file that is no witness, or that cannot be read.
        """
        try:
            return Seen.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            raise _refused("a witness file that cannot be read") from None

    def announce(
        self, instance: str, previous: LedgerHead, new: LedgerHead, spent: PrivacyLoss
    ) -> None:
        """Say where the ledger is going, before it goes."""
        self._write(Seen(instance=instance, previous=previous, current=new, spent_nano=spent.nano))

    def confirm(self, instance: str, head: LedgerHead, spent: PrivacyLoss) -> None:
        """Say where the ledger stands."""
        self._write(Seen(instance=instance, previous=None, current=head, spent_nano=spent.nano))

    def check(self, instance: str, head: LedgerHead) -> None:
        """Raise LedgerError unless the ledger stands where the witness saw it.

        A ledger in which nothing was ever written needs no witness yet.
        """
        seen = self.read()
        if seen is None:
            if head.sequence:
                raise _refused("a ledger without its witness file")
        elif not seen.allows(instance, head):
            raise _refused("a ledger that its witness did not see")

    def _write(self, seen: Seen) -> None:
        try:
            write_durably(self.path, seen.model_dump_json().encode())
        except OSError:
            raise LedgerError(
                "the ledger's witness",
                got="a place that cannot be written",
                expected="the file that site.toml names, on a volume that is there",
                do="mount the volume: nothing is charged without its witness",
            ) from None


def _refused(got: str) -> LedgerError:
    return LedgerError(
        "the ledger's witness",
        got=got,
        expected="the newest database beside the newest witness",
        do="restore the newest of both, or: reidscope-site ledger --adopt --role ROLE",
    )
