"""Who may speak for a role: accounts that the kernel vouches for, never the agent's own.

The policy's `roles` is a list (whoever holds the home speaks for each role) or a mapping of a role
to accounts. Under a mapping two people are two accounts, or two signing keys.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from reidscope_protocols.errors import PolicyRefusalError
from reidscope_site.config import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose process asks.

    Attributes
    ----------
    uid, gid : int
        As the kernel says: of this process, or of the other end of the agent's socket.

    Privacy
    -------
    Stays at the site: a Decision carries the role alone (docs/privacy.md, "What stays at the
    site").
    """

    uid: int
    gid: int

    @classmethod
    def of_this_process(cls) -> Caller:
        """Return whoever runs this command."""
        return cls(uid=os.geteuid(), gid=os.getegid())

    @property
    def is_agent(self) -> bool:
        """Whether this is the account that the agent itself runs under."""
        return self.uid == os.geteuid()

    def holds(self, account: str) -> bool:
        """Tell whether the policy's word for an account or a group means this caller."""
        kind, _, name = account.partition(":")
        try:
            if kind in {"uid", "user"}:
                return self.uid == (int(name) if kind == "uid" else pwd.getpwnam(name).pw_uid)
            return (int(name) if kind == "gid" else grp.getgrnam(name).gr_gid) in self._groups()
        except KeyError:
            # No such user or group on this machine: nobody holds it.
            return False

    def roles(self, policy: Policy) -> tuple[str, ...]:
        """Return the roles that this caller may speak for by account."""
        if not isinstance(policy.roles, dict):
            return policy.roles if self.is_agent else ()
        if self.is_agent:
            return ()
        return tuple(
            role
            for role, accounts in policy.roles.items()
            if any(self.holds(account) for account in accounts)
        )

    def _groups(self) -> frozenset[int]:
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return frozenset({self.gid})
        return frozenset({self.gid, *os.getgrouplist(name, self.gid)})


def check_role(policy: Policy, role: str, caller: Caller, *, signed: bool = False) -> None:
    """Raise PolicyRefusalError unless `caller` may speak for `role`.

    Parameters
    ----------
    signed : bool
        Whether a person's signature came along: then the agent's account may carry it in.
    """
    if role not in policy.roles:
        raise PolicyRefusalError(
            "role",
            got="one that the policy does not name",
            expected="one of " + ", ".join(policy.roles),
            do="ask somebody who holds one of these roles",
        )
    if role in caller.roles(policy) or (signed and caller.is_agent):
        return
    raise PolicyRefusalError(
        "role",
        got="the agent's own account" if caller.is_agent else "an account that does not hold it",
        expected=f"an account that the policy names for {role}, over the agent's socket",
        do="have that person give the command with --home SOCKET, or with --signature FILE",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One person's yes, while another is needed.

    Attributes
    ----------
    uid : int
        Of whoever gave it, or carried it in.
    signer : str
        The OpenSSH public key that signed it; empty where none did.
    """

    role: str
    uid: int
    signer: str

    def is_somebody_else_than(self, other: Voice) -> bool:
        """Tell whether two voices are surely two people's: two keys, or two accounts."""
        if bool(self.signer) != bool(other.signer):
            # An account and a key may both be one person's.
            return False
        if self.signer:
            carried = self.uid == other.uid == os.geteuid()
            return self.signer != other.signer and (carried or self.uid != other.uid)
        return self.uid != other.uid
