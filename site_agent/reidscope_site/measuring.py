"""Measuring one approved study: everybody into a cell, then one noisy table."""

from __future__ import annotations

import shutil
import threading

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import NotReadyError, OutcomeMissingError
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import ConstantRole
from reidscope_site import package
from reidscope_site.agent import Agent, Progress
from reidscope_site.journal import Event
from reidscope_site.outcomes import Outcomes
from reidscope_site.release import release
from reidscope_site.studies import check_policy
from reidscope_site.worker import Task, worker

_ROOM_BYTES = 8 << 20


def measure(
    agent: Agent,
    study: Opened[Study],
    *,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> bytes | None:
    """Evaluate everybody of the snapshot, then release the one joint table.

    Parameters
    ----------
    agent : Agent
        Of this thread.
    study : Opened of Study
        Approved.
    progress : callable, optional
        For the site's own terminal.
    stop : threading.Event, optional
        Looked at between two people; what was evaluated stays sealed for the next run.

    Returns
    -------
    bytes or None
        The signed Release; None when stopped.

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
    if agent.ledger.charged(study.sha256):
        raise OutcomeMissingError(
            "study",
            got="a table that was charged and never stored",
            expected="one that was never charged",
            do="count it as lost: it is never drawn again",
        )
    _require(agent, study)
    task = _task(agent, study)
    agent.journal.write(Event.RUN_STARTED, study.sha256)
    outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
    people = list(agent.snapshot.people())
    known = outcomes.known()
    with worker(task) as hands:
        for number, person in enumerate(people, start=1):
            if stop and stop.is_set():
                return None
            if person.pseudonym not in known:
                outcomes.keep(person.pseudonym, hands.evaluate(person))
            if progress:
                progress(number, len(people))
    # Hours may have passed: a new index, policy or package in between voids the approval.
    _require(agent, study)
    _require_room(agent)
    envelope = release(
        study,
        outcomes,
        ledger=agent.ledger,
        policy=agent.policy,
        site=agent.config.name,
        key=agent.statement_key,
        versions=package.versions(),
    )
    agent.outbox.add("release", study.sha256, envelope)
    agent.journal.write(Event.RELEASED, study.sha256)
    return envelope


def _require(agent: Agent, study: Opened[Study]) -> None:
    agent.check_receipts()
    snapshot = agent.snapshot.found_again(agent.site_key)
    agent.consent.require(study, policy=agent.policy, snapshot_digest=snapshot)
    check_policy(study.statement, agent.policy, agent.ledger)


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
    read = {constant.role: agent.constants.read(constant) for constant in study.statement.constants}
    return Task(
        sha256=study.sha256,
        cells=study.statement.experiment.cells(),
        gallery=read[ConstantRole.REFERENCE_GALLERY],
        calibration=read[ConstantRole.CALIBRATION],
        detector=read[ConstantRole.DETECTOR],
        recogniser=read[ConstantRole.RECOGNISER],
        key_file=agent.home.key("site.key"),
        work=agent.home.work,
    )
