"""The pinned coordinator: its addresses, its CA, and the keys that this site believes."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from reidscope_protocols.durable import write_durably
from reidscope_protocols.enrolment import Addresses, Invitation, Pem, certificate_sha256
from reidscope_protocols.errors import ConfigError, NotEnrolledError
from reidscope_protocols.keys import KeyRecord, KeyRing
from reidscope_protocols.statements import Parsed
from reidscope_protocols.vocabulary import Sha256, SiteName


class PinnedCoordinator(Parsed):
    """What an invitation pinned, without its token."""

    site: SiteName
    addresses: Addresses
    ca_pem: Pem
    ca_sha256: Sha256
    keys: tuple[KeyRecord, ...]

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
            return cls.model_validate_json(path.read_bytes())
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
