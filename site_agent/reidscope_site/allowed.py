"""What the policy file allows beside sizes and caps: whose studies, of what kind, and when."""

from __future__ import annotations

from datetime import datetime, time

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import NotReadyError, PolicyRefusalError
from reidscope_protocols.study import Study
from reidscope_site.config import Policy
from reidscope_site.pinned import PinnedCoordinator

_SHOWN = 16  # digits of a digest


def check_allowed(study: Opened[Study], policy: Policy, pinned: PinnedCoordinator) -> None:
    """Raise PolicyRefusalError if one of the policy's lists leaves `study` out.

    Everything compared is public or typed by a person: the refusal tells nothing about the data.
    """
    # What a listed root or key led to by a signature is what was listed.
    asked_by = {pinned.ca_sha256, study.signer.public, *pinned.lineage}
    if policy.coordinators and not asked_by & set(policy.coordinators):
        raise _left_out(
            "coordinator",
            f"study key {study.signer.public[:_SHOWN]}... of CA {pinned.ca_sha256[:_SHOWN]}...",
            "coordinators",
        )
    kind = study.statement.experiment.kind
    if policy.experiments and kind not in policy.experiments:
        raise _left_out("experiment", kind, "experiments")
    strange = [
        f"{constant.role} with sha256 {constant.sha256[:_SHOWN]}..."
        for constant in study.statement.constants
        if constant.sha256 not in policy.constants
    ]
    if policy.constants and strange:
        raise _left_out("constants", ", ".join(strange), "constants")


def _left_out(what: str, got: str, listed: str) -> PolicyRefusalError:
    return PolicyRefusalError(
        what,
        got=got,
        expected=f"one out of `{listed}` in the policy file",
        do="decline, or look at it and add it to the policy file",
    )


def is_open(policy: Policy, now: datetime | None = None) -> bool:
    """Tell whether the policy's hours hold at `now`, in this machine's time zone."""
    if not policy.hours:
        return True
    at = (now or datetime.now().astimezone()).time()
    return any(_within(at, hours) for hours in policy.hours)


def check_hours(policy: Policy) -> None:
    """Raise NotReadyError outside the policy's hours."""
    if not is_open(policy):
        raise NotReadyError(
            "hours",
            got="an hour in which the policy lets nothing be computed",
            expected=" or ".join(policy.hours),
            do="wait: the agent goes on by itself",
        )


def _within(at: time, hours: str) -> bool:
    starts, ends = (time.fromisoformat(word) for word in hours.split("-"))
    if starts < ends:
        return starts <= at < ends
    # Over midnight; the whole day where both are the same.
    return at >= starts or at < ends
