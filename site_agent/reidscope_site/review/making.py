"""Making a contact sheet: one person at a time in the isolated child, then the pages.

What is on the disk is not looked at again: a review that was stopped goes on.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

from reidscope_protocols.cohort import Modality
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import InvariantError, NotReadyError, UnsupportedError
from reidscope_protocols.face_experiment import FaceExperiment
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import UNMODIFIED, ConstantRole, Mate
from reidscope_site import package
from reidscope_site.agent import Agent, Progress
from reidscope_site.child import child_of
from reidscope_site.cohort import as_asked, seen_by
from reidscope_site.face.external.program import longest_s
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.journal import Event
from reidscope_site.review.folder import ReviewFolder
from reidscope_site.review.looking import Job, Room, close_doors, known_arms, load_room, look
from reidscope_site.review.marks import SHORTEST_NAME, refuse_after_matching
from reidscope_site.review.page import needs_a_look, write_pages
from reidscope_site.review.sheet import Sheet, read_sheet
from reidscope_site.snapshot import Person, digest_of
from reidscope_site.worker import empty

_ASKED_DOMAIN = b"reidscope/review/v1"
_PERSON_SECONDS = 1800.0
_QUESTION_SECONDS = 120.0
_SEVERAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a review did: for the site's own terminal.

    Attributes
    ----------
    people, looked_at, waiting, failed : int
        On the pages or not yet; looked at this time; not yet; too little memory or time for them.
    flagged : int
        People with something to look at.
    """

    people: int
    looked_at: int
    waiting: int
    failed: int
    flagged: int


def make_sheets(
    agent: Agent,
    folder: ReviewFolder,
    *,
    study: Opened[Study] | None,
    limit: int | None,
    progress: Progress | None = None,
) -> Made:
    """Look at everybody of the snapshot who was not looked at yet, and write the pages.

    Parameters
    ----------
    agent : Agent
        Of this thread; the caller holds the home.
    folder : ReviewFolder
        Where the pages go.
    study : Opened of Study or None
        Whose arms and mates are shown; the policy's arms without one.
    limit : int or None
        So many people at most are looked at this time.

    Raises
    ------
    PolicyRefusalError
        Matching has begun.
    NotReadyError
        No index, or files that were changed since.
    UnsupportedError
        An arm of the study is not installed.
    """
    refuse_after_matching(agent)
    require_index(agent)
    room, absent = _room(agent, study)
    people = _people(agent, study)
    names = short_names(people)
    folder.keep_people(frozenset(names.values()))
    jobs = [
        Job(
            person=person,
            name=names[person.pseudonym],
            asked=_asked(agent, person, room),
            target=folder.sheet(names[person.pseudonym]),
        )
        for person in people
    ]
    waiting = [job for job in jobs if _done(job) is None]
    now = waiting if limit is None else waiting[:limit]
    failed = _look_at(now, room, progress)
    sheets = [sheet for job in jobs if (sheet := _done(job)) is not None]
    write_pages(
        folder,
        sheets,
        arms=room.arms,
        absent=absent,
        study=None if study is None else study.statement.study_id,
        failed=failed,
        waiting=len(jobs) - len(sheets),
    )
    agent.journal.write(Event.REVIEWED, None if study is None else study.sha256)
    return Made(
        people=len(jobs),
        looked_at=len(waiting) - (len(jobs) - len(sheets)),
        waiting=len(jobs) - len(sheets),
        failed=len(failed),
        flagged=sum(needs_a_look(sheet) for sheet in sheets),
    )


def require_index(agent: Agent) -> None:
    """Raise NotReadyError without an index, or where its files were changed since."""
    if agent.snapshot.found_again(agent.site_key) != agent.snapshot.digest():
        raise NotReadyError(
            "index",
            got="files that were changed since",
            expected="the files that were indexed",
            do="run `reidscope-site index` again",
        )


def short_names(people: tuple[Person, ...]) -> dict[str, str]:
    """Give everybody the first characters of their pseudonym: as few as tell all apart."""
    whole = [person.pseudonym for person in people]
    length = SHORTEST_NAME
    while len({name[:length] for name in whole}) < len(whole):
        length += 1
    return {name: name[:length] for name in whole}


def _people(agent: Agent, study: Opened[Study] | None) -> tuple[Person, ...]:
    everybody = tuple(agent.snapshot.people())
    if study is None:
        # PET is looked at of those alone who have nothing else.
        return tuple(
            person if person.scans else shown
            for person in everybody
            if (shown := as_asked(person, tuple(Modality))) is not None
        )
    experiment = study.statement.experiment
    return tuple(one for one in seen_by(everybody, experiment) if one.has(experiment.mate))


def _room(agent: Agent, study: Opened[Study] | None) -> tuple[Room, tuple[str, ...]]:
    """Say what is looked at, and which of the policy's arms are not installed."""
    experiment = None if study is None else study.statement.experiment
    asked = tuple(agent.policy.arms) if experiment is None else experiment.arms
    with child_of(close_doors, None, clear=lambda: empty(agent.home.work)) as child:
        known = child.ask(known_arms, asked, seconds=_QUESTION_SECONDS) or ()
    absent = tuple(name for name in asked if name not in known)
    if experiment is not None and absent:
        raise UnsupportedError(
            "the study's arms",
            got=", ".join(absent) + " not installed",
            expected="every arm of the study",
            do="install the program that the study names, or decline",
        )
    return (
        Room(
            arms=(UNMODIFIED, *(name for name in known if name != UNMODIFIED)),
            attacked=1 if experiment is None else experiment.scan_cap,
            second_is_mate=_second_is_mate(experiment),
            grey=experiment is not None and experiment.renders.grey,
            detector=installed_model_bytes().detector
            if study is None
            else agent.constants.read(study.statement.constant(ConstantRole.DETECTOR)),
            declared=(SFACE if experiment is None else experiment.recogniser).detector,
            key_file=agent.home.key("site.key"),
            work=agent.home.work,
        ),
        absent,
    )


def _second_is_mate(experiment: FaceExperiment | None) -> bool:
    return experiment is not None and experiment.mate is Mate.SECOND_SCAN


def _asked(agent: Agent, person: Person, room: Room) -> str:
    """Digest of all that a sheet depends on, under the site's key."""
    key = agent.site_key
    said = [
        package.sha256(),
        digest_of((person,), key),
        room.arms,
        room.attacked,
        room.second_is_mate,
        room.grey,
        room.declared.model_dump(mode="json"),
    ]
    text = json.dumps(said).encode() + room.detector
    return hmac.digest(key.branch(_ASKED_DOMAIN), text, "sha256").hex()


def _done(job: Job) -> Sheet | None:
    """Read a sheet that is still about the same files, arms and package."""
    if not job.target.is_file():
        return None
    sheet = read_sheet(job.target.read_bytes())
    return sheet if sheet is not None and sheet.asked == job.asked else None


def _look_at(jobs: list[Job], room: Room, progress: Progress | None) -> list[str]:
    """Look at people one after the other; return the names of those who could not be looked at."""
    failed: list[str] = []
    in_a_row = 0
    seconds = _PERSON_SECONDS + room.attacked * longest_s(room.arms)
    with child_of(load_room, room, clear=lambda: empty(room.work)) as child:
        for number, job in enumerate(jobs):
            if progress:
                progress(number, len(jobs))
            try:
                written = child.ask(look, job, seconds=seconds)
            except InvariantError:
                written = None  # a defect of ours, met with one person: the others go on
            if written:
                in_a_row = 0
                continue
            failed.append(job.name)
            in_a_row += 1
            if in_a_row == _SEVERAL:
                break
    return failed
