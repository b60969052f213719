"""Measuring one approved study: everybody into a cell of each table, then noisy tables."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import (
    NotReadyError,
    OutcomeMissingError,
    ReidscopeError,
)
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site import package
from reidscope_site.agent import Agent, Progress
from reidscope_site.allowed import check_hours, is_open
from reidscope_site.cohort import cohort_of
from reidscope_site.face.external.program import programs_of
from reidscope_site.journal import Event
from reidscope_site.outcomes import Outcomes
from reidscope_site.release import release
from reidscope_site.snapshot import Person
from reidscope_site.taking_part import take_part
from reidscope_site.worker import Task, Worker, worker

_ROOM_BYTES = 8 << 20
_SEVERAL = 3
"""So many people in a row without resources: the machine is too small, not the person too large."""


def measure(
    agent: Agent,
    study: Opened[Study],
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> bytes | None:
    """Evaluate everybody of the snapshot who is in the study's cohort, then release.

    Parameters
    ----------
    agent : Agent
        Of this thread.
    study : Opened of Study
        Approved.
    progress : callable, optional
        For the site's own terminal.
    stop : threading.Event, optional
        Ends the person at work too; what was evaluated stays sealed for the next run.

    Returns
    -------
    bytes or None
        The signed Release, or what a secure sum needs next; None when stopped, and when the
        policy's hours end.

    Raises
    ------
    RefusalError
        No approval that binds, outside the policy, over the budget, or lost before.

    Privacy
    -------
    Only the release may leave (docs/privacy.md, "One noisy table").
    """
    stored = agent.ledger.stored(study.sha256)
    if stored is not None:
        agent.outbox.add("release", study.sha256, stored)
        return stored
    if study.statement.noise is None and agent.ledger.charged(study.sha256):
        raise OutcomeMissingError(
            "study",
            got="a table that was charged and never stored",
            expected="one that was never charged",
            do="count it as lost: it is never drawn again",
        )
    check_hours(agent.policy)
    _require(agent, study)
    task = _task(agent, study)
    agent.journal.write(Event.RUN_STARTED, study.sha256)
    outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
    # Read off each person's own index: the cohort's rule, not an outcome.
    people = list(cohort_of(agent.snapshot.people(), study.statement, agent.site_key))

    def halted() -> bool:
        return (stop is not None and stop.is_set()) or not is_open(agent.policy)

    # Where participants are listed, everybody was evaluated before this site gave its keys.
    if not agent.sums.has_list(study.sha256):
        with worker(task, stop=stop) as hands:
            if not _evaluate_waiting(people, hands, outcomes, progress=progress, halted=halted):
                return None
    # Hours may have passed: a new index, policy or package in between voids the approval.
    _require(agent, study)
    _require_room(agent)
    if study.statement.noise is not None:
        return take_part(agent, study, outcomes)
    envelope = release(
        study,
        outcomes,
        ledger=agent.ledger,
        policy=agent.policy,
        site=agent.config.name,
        key=agent.statement_key,
        versions=package.versions() | programs_of(study.statement.experiment.arms),
    )
    agent.outbox.add("release", study.sha256, envelope)
    agent.journal.write(Event.RELEASED, study.sha256)
    return envelope


def _evaluate_waiting(
    people: Sequence[Person],
    hands: Worker,
    outcomes: Outcomes,
    *,
    progress: Progress | None,
    halted: Callable[[], bool],
) -> bool:
    """Seal the cells of everybody who has none yet; False when halted.

    One person's failure ends nobody else's turn. It is raised when all others are through: without
    that person there is no table, and the next run begins with them.

    Raises
    ------
    OutcomeMissingError
        Somebody could not be evaluated for want of resources; at once after several in a row.
    InvariantError
        A defect of ours, met with somebody.
    ReidscopeError
        A program of others did not end in time with somebody, or a public constant is not what the
        study says; at once after several in a row.
    """
    tell = progress or _silent
    known = outcomes.known()
    waiting = [person for person in people if person.pseudonym not in known]
    done, in_a_row = len(people) - len(waiting), 0
    failure: ReidscopeError | None = None
    for person in waiting:
        tell(done, len(people))
        if halted():
            return False
        try:
            outcomes.keep(person.pseudonym, hands.evaluate(person))
        except ReidscopeError as error:
            if halted():
                return False
            failure, in_a_row = error, in_a_row + 1
            if in_a_row == _SEVERAL:
                break
        else:
            done, in_a_row = done + 1, 0
    if failure is not None:
        raise failure
    if halted():
        return False
    tell(done, len(people))
    return True


def _silent(_done: int, _of: int) -> None:
    """Tell nobody."""


def _require(agent: Agent, study: Opened[Study]) -> None:
    agent.home.check_not_held()
    agent.check_receipts()
    snapshot = agent.snapshot.found_again(agent.site_key)
    agent.consent.require(study, policy=agent.policy, snapshot_digest=snapshot)
    agent.check_policy(study)


def _require_room(agent: Agent) -> None:
    """Raise NotReadyError where a table might be charged and then not be stored."""
    if shutil.disk_usage(agent.home.root).free < _ROOM_BYTES:
        raise NotReadyError(
            "disk",
            got="too little room to keep a release",
            expected=f"{_ROOM_BYTES >> 20} MiB free in the site's home",
            do="make room, then run it again: nothing was charged",
        )


def _task(agent: Agent, study: Opened[Study]) -> Task:
    said = study.statement
    return Task(
        sha256=study.sha256,
        experiment=said.experiment,
        gallery=agent.constants.read(said.constant(ConstantRole.REFERENCE_GALLERY)),
        calibration=agent.constants.read(said.constant(ConstantRole.CALIBRATION)),
        models={
            constant.sha256: agent.constants.read(constant)
            for constant in said.constants
            if constant.role in {ConstantRole.DETECTOR, ConstantRole.RECOGNISER}
        },
        key_file=agent.home.key("site.key"),
        work=agent.home.work,
    )
