"""Runs that stop at any time and go on: nothing lost, nothing told, nobody evaluated twice."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing.context
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import DefacerStoppedError, OutcomeMissingError
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import ConstantRole, DecisionReason, Verdict
from reidscope_site import child, measuring, worker
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.constants import Constants
from reidscope_site.handover import answer_for
from reidscope_site.outcomes import Outcomes
from reidscope_site.progress import Pace, in_tenths, in_words, stoppable
from reidscope_site.snapshot import Person

FACES, DIMENSION = 40, 128
INTERRUPTED = 130
BIN = Path(sys.executable).parent


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real child processes that load no models, for an approved study whose constants are there."""
    monkeypatch.setattr(worker, "_load", lambda _: None)
    monkeypatch.setattr(
        child.multiprocessing, "get_context", lambda _: multiprocessing.context.ForkContext()
    )
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")


def always(_: Person) -> tuple[int, ...]:
    return (0, 0)


def all_but_the_third(person: Person) -> tuple[int, ...]:
    if person.pseudonym == "P-2":
        os.kill(os.getpid(), signal.SIGKILL)
    return (1, 1)


def nobody(_: Person) -> tuple[int, ...]:
    os.kill(os.getpid(), signal.SIGKILL)
    return (2, 2)


def known(agent: Agent, study: Opened[Study]) -> list[str]:
    return sorted(Outcomes(agent.connection, agent.site_key, study.sha256).known())


@pytest.mark.usefixtures("forked")
def test_one_persons_failure_ends_nobody_elses_turn(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_evaluate", all_but_the_third)
    with pytest.raises(OutcomeMissingError) as caught:
        measuring.measure(agent, approved)
    assert "P-2" not in str(caught.value)
    assert known(agent, approved) == ["P-0", "P-1", "P-3", "P-4"]
    assert agent.ledger.stored(approved.sha256) is None
    monkeypatch.setattr(worker, "_evaluate", always)
    assert measuring.measure(agent, approved) is not None


def never_the_second(person: Person) -> tuple[int, ...]:
    if person.pseudonym == "P-1":
        raise DefacerStoppedError("a defacer", got="no end", expected="one", do="give it longer")
    return (1, 1)


@pytest.mark.usefixtures("forked")
def test_a_defacer_that_does_not_end_with_one_person_ends_nobody_elses_turn(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_evaluate", never_the_second)
    with pytest.raises(DefacerStoppedError):
        measuring.measure(agent, approved)
    assert known(agent, approved) == ["P-0", "P-2", "P-3", "P-4"]
    assert agent.ledger.stored(approved.sha256) is None


@pytest.mark.usefixtures("forked")
def test_a_machine_that_is_too_small_for_anybody_is_not_tried_with_everybody(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    evaluate = worker.Worker.evaluate

    def counted(self: worker.Worker, person: Person) -> Any:
        asked.append(person.pseudonym)
        return evaluate(self, person)

    monkeypatch.setattr(worker, "_evaluate", nobody)
    monkeypatch.setattr(worker.Worker, "evaluate", counted)
    with pytest.raises(OutcomeMissingError):
        measuring.measure(agent, approved)
    assert asked == ["P-0", "P-1", "P-2"]
    assert known(agent, approved) == []


@pytest.mark.usefixtures("forked")
def test_a_run_that_is_stopped_goes_on_with_the_next_person(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_evaluate", always)
    stop = threading.Event()

    def stop_at_two(done: int, of: int) -> None:
        assert of == 5
        if done == 2:
            stop.set()

    assert measuring.measure(agent, approved, progress=stop_at_two, stop=stop) is None
    first = known(agent, approved)
    assert len(first) == 2
    told: list[tuple[int, int]] = []
    assert measuring.measure(agent, approved, progress=lambda *at: told.append(at)) is not None
    assert told == [(2, 5), (3, 5), (4, 5), (5, 5)]


def endless(_: Person) -> tuple[int, ...]:
    time.sleep(600)
    return (0, 0)


@pytest.mark.usefixtures("forked")
def test_a_person_at_work_does_not_keep_a_run_from_stopping(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_evaluate", endless)
    (agent.home.work / "copy").mkdir()
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    assert measuring.measure(agent, approved, stop=stop) is None
    assert time.monotonic() - began < 30
    assert multiprocessing.active_children() == []
    assert list(agent.home.work.iterdir()) == []
    assert known(agent, approved) == []


@pytest.mark.usefixtures("forked")
def test_how_far_a_run_is_is_in_nothing_that_leaves_and_in_no_journal(
    agent: Agent, approved: Opened[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_evaluate", always)
    answers, journals, waiting = set(), set(), set()

    def ask(_done: int, _of: int) -> None:
        answers.add(answer_for(agent, approved.sha256))
        journals.add(tuple(entry.event for entry in agent.journal.entries()))
        waiting.add(tuple(item.envelope for item in agent.outbox.every()))

    measuring.measure(agent, approved, progress=ask)
    assert answers == {b"Nworking"}
    assert len(journals) == 1
    assert len(waiting) == 1


def test_sigterm_ends_a_run_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def terminated() -> None:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        terminated()
    assert signal.getsignal(signal.SIGTERM) is before


@given(
    before=st.integers(0, 50),
    steps=st.lists(st.floats(0.01, 1000), min_size=1, max_size=20),
    after=st.integers(0, 50),
)
def test_the_time_left_is_that_of_this_runs_mean_person(
    before: int, steps: list[float], after: int
) -> None:
    now = [100.0]
    pace = Pace(clock=lambda: now[0])
    of = before + len(steps) + after
    assert pace.left(before, of) is None
    for done, step in enumerate(steps, start=1):
        now[0] += step
        left = pace.left(before + done, of)
        expected = sum(steps[:done]) / done * (of - before - done)
        assert left == pytest.approx(expected)
        assert left is not None
        assert in_words(left)


def test_times_are_said_roughly() -> None:
    said = [in_words(seconds) for seconds in (40, 12 * 60, 3.5 * 3600, 2.1 * 86400)]
    assert said == ["40 s", "12 min", "3.5 h", "2.1 days"]


def test_a_log_hears_of_every_tenth_once() -> None:
    lines: list[str] = []
    tell = in_tenths("faces", lines.append)
    for done in (0, 1, 5, 5, 10):
        tell(done, 10)
    assert [line.split(",")[0] for line in lines] == [
        f"faces: {share} % of the people" for share in (10, 50, 100)
    ]


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def calibration() -> bytes:
    from reidscope_site.face.template import template  # noqa: PLC0415  # loads torch: slow alone

    names = ("identified", "unmodified/calibrated", "blur/calibrated")
    facts = {
        "schema": "reidscope.calibration/2",
        "mate": "photo",
        "direction": "sample-to-population",
        "renders": {"views": 1, "lights": 1, "fusion": "mean", "grey": False},
        "recogniser": SFACE.model_dump(mode="json"),
        "detector_sha256": SFACE.detector.sha256,
        "template_sha256": template().sha256,
        "dimension": DIMENSION,
        "means": {name: [0.0] * DIMENSION for name in names},
        "galleries": ["identified"],
        "sigma_gallery": {"2": 0.01},
        "gallery_faces": FACES,
        "figures": {"people": 1, "found": {}},
        "seeds": {},
        "versions": {},
    }
    return json.dumps(facts).encode()


@pytest.fixture
def real(
    hospital: Agent, coordinator: Any, make_study: Callable[..., Study]
) -> tuple[Agent, Opened[Study]]:
    """An approved study of two real (synthetic) people, with models and constants."""
    from reidscope_site.installed import template_bytes  # noqa: PLC0415  # as in calibration

    draw = np.random.default_rng(1)
    contents = {
        ConstantRole.REFERENCE_GALLERY: npy(
            draw.integers(-60, 61, (FACES, DIMENSION)).astype(np.int8)
        ),
        ConstantRole.CALIBRATION: calibration(),
        ConstantRole.TEMPLATE: template_bytes(),
    }
    draft = make_study(asked={"reference_size": FACES})
    constants = tuple(
        constant.model_copy(
            update={
                "sha256": hashlib.sha256(contents[constant.role]).hexdigest(),
                "size_bytes": len(contents[constant.role]),
            }
        )
        if constant.role in contents
        else constant
        for constant in draft.constants
    )
    study = hospital.studies.receive(
        coordinator.sign(make_study(asked={"reference_size": FACES}, constants=constants))
    )
    for constant in constants:
        if constant.role in contents:
            hospital.keep_constant(contents[constant.role], constant)
    hospital.decide(
        study.sha256,
        Verdict.APPROVED,
        role="data protection officer",
        reason=DecisionReason.REVIEWED,
    )
    return hospital, study


def rows(home: Home) -> dict[str, bytes]:
    with sqlite3.connect(home.database) as connection:
        return dict(connection.execute("SELECT pseudonym, sealed FROM outcome").fetchall())


def cells(home: Home, study: Opened[Study]) -> list[tuple[int, ...]]:
    agent = Agent(home)
    try:
        outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
        return [outcome.cells for outcome in outcomes.all()]
    finally:
        agent.close()


def wait_for(holds: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_stopped_and_resumed_run_gives_the_outcomes_of_an_uninterrupted_one(
    real: tuple[Agent, Opened[Study]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, study = real
    other = Home(tmp_path / "uninterrupted")
    agent.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    shutil.copytree(agent.home.root, other.root)
    # Outcomes are erased by a release: it is kept from happening, so that they can be compared.
    monkeypatch.setattr(measuring, "release", lambda *_, **__: b"not released")
    whole = Agent(other)
    measuring.measure(whole, study)
    whole.close()

    stop = threading.Event()
    measuring.measure(
        agent, study, progress=lambda done, _: stop.set() if done else None, stop=stop
    )
    assert len(rows(agent.home)) == 1
    killer = threading.Thread(target=_kill_who_reads, args=(agent.home.work,))
    killer.start()
    measuring.measure(agent, study)
    killer.join()
    assert list(agent.home.work.iterdir()) == []
    assert cells(agent.home, study) == cells(other, study)
    assert len(cells(other, study)) == 2


def _kill_who_reads(work: Path) -> None:
    """End a worker in the middle of a person's scan, as a kernel without memory would."""
    wait_for(lambda: any(work.iterdir()))
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_run_that_was_killed_and_a_run_that_was_terminated_are_finished_by_the_next(
    real: tuple[Agent, Opened[Study]],
) -> None:
    agent, study = real
    home = agent.home
    agent.close()
    command = [str(BIN / "reidscope-site"), "run", study.sha256, "--home", str(home.root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip

    killed = started()
    wait_for(lambda: len(rows(home)) == 1 or killed.poll() is not None)
    killed.kill()
    _, errors = killed.communicate()
    first = rows(home)
    assert len(first) == 1, errors

    left = set(home.work.iterdir())
    terminated = started()
    wait_for(lambda: bool(set(home.work.iterdir()) - left) or terminated.poll() is not None)
    terminated.send_signal(signal.SIGTERM)
    out, _ = terminated.communicate(timeout=60)
    assert terminated.returncode == INTERRUPTED
    assert "released" not in out
    assert list(home.work.iterdir()) == []
    assert rows(home) == first

    last = started()
    out, errors = last.communicate(timeout=400)
    assert last.returncode == 0, errors
    assert "released" in out
    again = Agent(home)
    assert again.ledger.stored(study.sha256) is not None
    again.close()
    assert rows(home) == {}
