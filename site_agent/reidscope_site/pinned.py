"""The pinned coordinator: its addresses, its roots, and the keys that this site believes.

A key or a root is followed by another where the pinned one signs so (`following`): never otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from reidscope_protocols.durable import write_durably
from reidscope_protocols.enrolment import Addresses, Invitation, Pem, certificate_sha256
from reidscope_protocols.errors import ConfigError, NotEnrolledError
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import Sha256, SiteName


class PinnedCoordinator(Parsed):
    """What an invitation pinned, without its token, and what signed changes made of it.

    Attributes
    ----------
    next_ca_pem : str or None
        The root that follows `ca_pem`; both are trusted until `ca_ends`.
    lineage : tuple of str
        SHA-256 of roots, and public keys, that were followed by others: each hands over once.
    """

    site: SiteName
    addresses: Addresses
    ca_pem: Pem
    ca_sha256: Sha256
    keys: tuple[KeyRecord, ...]
    next_ca_pem: Pem | None = None
    ca_ends: AwareDatetime | None = None
    lineage: tuple[Sha256, ...] = ()

    @classmethod
    def from_invitation(cls, invitation: Invitation) -> PinnedCoordinator:
        """Keep what an invitation says about the coordinator."""
        return cls(
            site=invitation.site,
            addresses=invitation.addresses,
            ca_pem=invitation.ca_pem,
            ca_sha256=certificate_sha256(invitation.ca_pem),
            keys=invitation.keys,
        )

    @property
    def ring(self) -> KeyRing:
        """The coordinator's keys."""
        return KeyRing(self.keys)

    @property
    def roots_pem(self) -> str:
        """Every root that the coordinator's doors may show."""
        return self.ca_pem + (self.next_ca_pem or "")

    @property
    def newest_root_pem(self) -> str:
        """The root that this site's own certificate is to come from."""
        return self.next_ca_pem or self.ca_pem

    def settled(self, now: datetime) -> PinnedCoordinator:
        """Return the pin as it is once an overlap of roots is over."""
        if self.next_ca_pem is None or self.ca_ends is None or now < self.ca_ends:
            return self
        return self.model_copy(
            update={
                "ca_pem": self.next_ca_pem,
                "ca_sha256": certificate_sha256(self.next_ca_pem),
                "next_ca_pem": None,
                "ca_ends": None,
                "lineage": (*self.lineage, self.ca_sha256),
            }
        )

    def save(self, path: Path) -> None:
        """Write the pin durably."""
        write_durably(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> PinnedCoordinator:
        """Read the pin.

        Raises
        ------
        NotEnrolledError
            The site was never enrolled.
        ConfigError
            The file was altered.
        """
        try:
            return cls.model_validate_json(path.read_bytes()).settled(datetime.now(UTC))
        except FileNotFoundError:
            raise NotEnrolledError(
                "coordinator",
                got="no pinned coordinator in this home",
                expected="an enrolled site",
                do="run `reidscope-site enroll` with the coordinator's invitation",
            ) from None
        except ValidationError:
            raise ConfigError(
                path.name,
                got="a file that does not parse",
                expected="the file that enrolment wrote",
                do="enrol again",
            ) from None
