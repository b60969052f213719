"""Who counts and of which group: a function of one person, whoever else is there."""

from __future__ import annotations

import math
import multiprocessing.context
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from reidscope_deid.keys import SiteKey
from reidscope_protocols.cohort import AgeRange, Cohort, Modality, Sample, Sex, YearRange
from reidscope_protocols.envelope import Opened, peek_payload
from reidscope_protocols.errors import ConsentMissingError
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.groups import GroupedBy, Groups
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Mate, Verdict
from reidscope_site import child, measuring, worker
from reidscope_site.agent import Agent
from reidscope_site.attributes import Attributes, age_of
from reidscope_site.cohort import cohort_of, drawn, in_group, meets
from reidscope_site.constants import Constants
from reidscope_site.experiments import face
from reidscope_site.face.evaluate import CellReading
from reidscope_site.outcomes import Outcomes
from reidscope_site.plainwords import explain
from reidscope_site.release import noisy_counter
from reidscope_site.snapshot import Person, Scan, digest_of
from reidscope_site.sources.facts import silenced

KEY = SiteKey(bytes(range(32)))
EXACT = PrivacyLoss.from_decimal("1000")
"""At epsilon 1,000 the chain of a release adds noise other than 0 with probability 2e-434."""
ROLE = "data protection officer"
BY_AGE = Groups(by=GroupedBy.AGE, ages=(AgeRange(low=18, high=39), AgeRange(low=40)))
COHORT = Cohort(
    rule="everyone-who-meets",
    sexes=(Sex.FEMALE, Sex.MALE),
    ages=AgeRange(low=18, high=79),
    modalities=(Modality.MR,),
    sample=Sample(share_ppm=600_000, salt="wave-1"),
)


def experiment(groups: Groups | None) -> FaceExperiment:
    return FaceExperiment(
        recogniser=SFACE,
        anchors=(2, 5),
        arms=("unmodified", "blur"),
        groups=groups,
        reference_size=200,
        reference_people="nobody",
        gallery_error=tuple(GalleryError(gallery_size=n, sigma_ppm=0) for n in (2, 5)),
    )


ATTRIBUTES = st.builds(
    Attributes,
    sex=st.sampled_from(["F", "M", "O", ""]),
    age_years=st.one_of(st.none(), st.integers(0, 90)),
    modality=st.sampled_from(["MR", "CT", ""]),
    year=st.one_of(st.none(), st.integers(2000, 2026)),
    group=st.sampled_from(["left", "right", "", "Other"]),
)
GROUPS = st.sampled_from(
    [
        None,
        BY_AGE,
        Groups(by=GroupedBy.SEX, values=("F", "M")),
        Groups(by=GroupedBy.MODALITY, values=("MR",)),
        Groups(by=GroupedBy.GROUP, values=("left", "right")),
    ]
)
COHORTS = st.sampled_from(
    [
        Cohort(),
        COHORT,
        Cohort(rule="everyone-who-meets", years=YearRange(low=2010, high=2020)),
        Cohort(rule="everyone-who-meets", mates=(Mate.SECOND_SCAN,)),
    ]
)


def a_person(name: str, attributes: Attributes, scans: int = 1) -> Person:
    taken = (Scan(kind="dicom", files=(), taken=f"202001{day:02d}") for day in range(1, scans + 1))
    return Person(pseudonym=name, scans=tuple(taken), photo=Path("photo"), attributes=attributes)


PEOPLE = st.lists(st.tuples(ATTRIBUTES, st.integers(1, 2)), min_size=1, max_size=8).map(
    lambda known: [a_person(f"P-{n}", what, scans) for n, (what, scans) in enumerate(known)]
)


def read_off_the_coin(*_: object, coin: float) -> CellReading:
    """Stand in for networks: any function of one person will do, and the coin is one."""
    found = int(coin * 1000) % 4
    return CellReading(
        acquired=found != 3,
        found_at=(0, 2, 5, 0)[found],
        defaced_found={"blur": coin > 0.5},
        passed={"blur": True},
        brain_lost=None,
    )


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[int]]:
    """The joint table before noise, through cohort, `evaluate` and a release's own counter."""
    monkeypatch.setattr(face, "_read", lambda *_: ())
    monkeypatch.setattr(face, "classify", read_off_the_coin)

    def table(people: Sequence[Person], cohort: Cohort, groups: Groups | None) -> list[int]:
        asked = experiment(groups)
        study = face.FaceStudy(
            sha256="ab" * 32,
            constants=SimpleNamespace(experiment=asked),  # type: ignore[arg-type]  # no models here
            key=KEY,
            work=tmp_path,
        )
        said = SimpleNamespace(experiment=asked, cohort=cohort)
        counted = cohort_of(people, said, KEY)  # type: ignore[arg-type]  # all that it looks at
        cells = [face.evaluate(person, study).cells[0] for person in counted]
        return list(noisy_counter(len(asked.joint_labels()), EXACT)(cells))

    return table


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(people=PEOPLE, newcomer=ATTRIBUTES, cohort=COHORTS, groups=GROUPS, data=st.data())
def test_adding_removing_or_replacing_anybody_moves_the_pre_noise_table_by_one_cell_each(  # noqa: PLR0917 - five drawn by hypothesis
    evaluated: Callable[..., list[int]],
    people: list[Person],
    newcomer: Attributes,
    cohort: Cohort,
    groups: Groups | None,
    data: st.DataObject,
) -> None:
    who = data.draw(st.integers(0, len(people) - 1))
    whole = np.array(evaluated(people, cohort, groups))
    others = people[:who] + people[who + 1 :]
    without = np.array(evaluated(others, cohort, groups))
    another = a_person("P-new", newcomer)
    counts = int(people[who].has(Mate.PHOTO) and meets(people[who], cohort, KEY))
    assert np.abs(whole - without).sum() == counts <= 1
    assert (whole - without).sum() == counts
    grown = np.array(evaluated([*people, another], cohort, groups))
    assert np.abs(grown - whole).sum() <= 1
    replaced = np.array(evaluated([*others, another], cohort, groups))
    assert np.abs(replaced - whole).sum() <= 2


@given(people=PEOPLE, cohort=COHORTS, data=st.data())
def test_who_counts_depends_on_nobody_else_and_on_no_order(
    people: list[Person], cohort: Cohort, data: st.DataObject
) -> None:
    study: Any = SimpleNamespace(experiment=experiment(None), cohort=cohort)
    alone = {one.pseudonym for one in people if list(cohort_of([one], study, KEY))}
    shuffled = data.draw(st.permutations(people))
    assert {one.pseudonym for one in cohort_of(shuffled, study, KEY)} == alone
    company = data.draw(st.sets(st.sampled_from(range(len(people)))))
    some = [people[place] for place in sorted(company)]
    found = {one.pseudonym for one in cohort_of(some, study, KEY)}
    assert found == alone & {one.pseudonym for one in some}


@given(attributes=ATTRIBUTES)
def test_what_is_not_known_meets_no_condition_that_asks_for_it(attributes: Attributes) -> None:
    person = a_person("P-1", attributes)
    asked: dict[str, tuple[dict[str, Any], bool]] = {
        "sexes": ({"sexes": tuple(Sex)}, attributes.sex == ""),
        "ages": ({"ages": AgeRange(low=0)}, attributes.age_years is None),
        "modalities": ({"modalities": tuple(Modality)}, attributes.modality == ""),
        "years": ({"years": YearRange(low=1990)}, attributes.year is None),
    }
    for condition, unknown in asked.values():
        cohort = Cohort(rule="everyone-who-meets", **condition)
        assert meets(person, cohort, KEY) is not unknown
    assert meets(person, Cohort(), KEY)


@pytest.mark.parametrize("ppm", [10_000, 250_000, 500_000, 990_000])
def test_a_keyed_sample_has_about_its_share_and_is_the_same_for_ever(ppm: int) -> None:
    """5,000 people: six standard deviations fail by chance less often than one time in 1e8."""
    sample, people = Sample(share_ppm=ppm, salt="wave-1"), 5000
    names = [f"P-{number}" for number in range(people)]
    chosen = {name for name in names if drawn(name, sample, KEY)}
    share = ppm / 1e6
    assert abs(len(chosen) - people * share) < 6 * math.sqrt(people * share * (1 - share))
    assert chosen == {name for name in reversed(names) if drawn(name, sample, KEY)}


def test_samples_nest_within_a_salt_and_are_independent_between_salts_and_sites() -> None:
    """4,000 people, a quarter in two independent halves: six standard deviations again."""
    names = [f"P-{number}" for number in range(4000)]

    def sample(ppm: int, salt: str, key: SiteKey = KEY) -> set[str]:
        asked = Sample(share_ppm=ppm, salt=salt)
        return {name for name in names if drawn(name, asked, key)}

    half = sample(500_000, "wave-1")
    assert sample(200_000, "wave-1") < half < sample(800_000, "wave-1")
    reach = 6 * math.sqrt(4000 * 0.25 * 0.75)
    for other in (sample(500_000, "wave-2"), sample(500_000, "wave-1", SiteKey(bytes(32)))):
        assert abs(len(half & other) - 1000) < reach


@given(attributes=ATTRIBUTES, joint=st.integers(0, 6), groups=GROUPS)
def test_a_group_moves_a_persons_own_cell_of_the_joint_table_alone(
    attributes: Attributes, joint: int, groups: Groups | None
) -> None:
    asked = experiment(groups)
    placed = in_group((joint, 2, 3), a_person("P-1", attributes), asked)
    assert placed[1:] == (2, 3)
    label = asked.joint_labels()[placed[0]]
    assert label.endswith(asked.cells().labels[joint])
    if groups is not None and groups.by is GroupedBy.SEX:
        told = attributes.sex if attributes.sex in {"F", "M"} else "other"
        assert label.startswith(f"sex={told};")


@pytest.mark.parametrize(
    ("said", "born", "taken", "years"),
    [
        ("045Y", "", "", 45),
        ("018M", "", "", 1),
        ("104W", "", "", 1),
        ("365D", "", "", 0),
        ("366D", "", "", 1),
        ("45", "", "", None),
        ("999Y", "", "", None),
        ("102Y", "", "", 90),
        ("", "19500301", "20200229", 69),
        ("", "19500301", "20200301", 70),
        ("", "19000101", "20260101", None),
        ("", "20300101", "20200101", None),
        ("", "1950", "20200101", None),
        ("", "19501399", "20200101", None),
        ("", "19500301", "", None),
        ("030Y", "19500301", "20200301", 30),
    ],
)
def test_an_age_is_the_headers_own_or_counted_from_the_birth_date(
    said: str, born: str, taken: str, years: int | None
) -> None:
    header = Dataset()
    with silenced():
        header.PatientAge, header.PatientBirthDate = said, born
    assert age_of(header, taken) == years


def test_the_digest_that_an_approval_binds_holds_attributes(people: tuple[Person, ...]) -> None:
    before = digest_of(people, KEY)
    older = replace(people[0], attributes=Attributes(sex="F"))
    assert digest_of((older, *people[1:]), KEY) != before
    assert digest_of(tuple(reversed(people)), KEY) == before


def test_attributes_are_kept_in_the_snapshot_as_they_were_settled(
    agent: Agent, people: tuple[Person, ...]
) -> None:
    known = Attributes(sex="O", age_years=90, modality="CT", year=1999, group="left")
    settled = (replace(people[0], attributes=known), *people[1:])
    agent.snapshot.freeze(settled, agent.site_key)
    assert tuple(agent.snapshot.people()) == settled


def evaluate_by_group(person: Person) -> tuple[int, ...]:
    return in_group((1, 0), person, experiment_of_the_run)


experiment_of_the_run = experiment(None)


@pytest.fixture
def approve(
    agent: Agent,
    coordinator: Any,
    people: tuple[Person, ...],
    make_study: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Opened[Study]]:
    """A study with a cohort, approved by a site of five: three F, one M, one of whom nothing."""
    monkeypatch.setattr(worker, "_load", lambda _: None)
    monkeypatch.setattr(worker, "_evaluate", evaluate_by_group)
    monkeypatch.setattr(
        child.multiprocessing, "get_context", lambda _: multiprocessing.context.ForkContext()
    )
    monkeypatch.setattr(Constants, "read", lambda *_: b"public")

    def build(cohort: Cohort) -> Opened[Study]:
        sexes = ("F", "F", "F", "M", "")
        known = tuple(
            replace(person, attributes=Attributes(sex=sex))
            for person, sex in zip(people, sexes, strict=True)
        )
        agent.snapshot.freeze(known, agent.site_key)
        groups = Groups(by=GroupedBy.SEX, values=("F", "M"))
        said = make_study(asked={"groups": groups}, cohort=cohort)
        monkeypatch.setitem(globals(), "experiment_of_the_run", said.experiment)
        study: Opened[Study] = agent.studies.receive(coordinator.sign(said))
        agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)
        return study

    return build


def released(envelope: bytes | None) -> Release:
    assert envelope is not None
    return Release.parse(peek_payload(envelope))


def test_a_cohort_of_nobody_releases_a_noisy_table_like_any_other(
    agent: Agent, approve: Callable[..., Opened[Study]]
) -> None:
    study = approve(Cohort(rule="everyone-who-meets", sexes=(Sex.OTHER,)))
    said = released(measuring.measure(agent, study))
    assert [len(table.counts) for table in said.tables] == [15, 3]
    assert agent.ledger.spent() == study.statement.loss


def test_a_run_that_stops_goes_on_with_the_same_people_and_counts_no_others(
    agent: Agent, approve: Callable[..., Opened[Study]]
) -> None:
    study = approve(Cohort(rule="everyone-who-meets", sexes=(Sex.FEMALE,)))
    stop = threading.Event()

    def halt(done: int, of: int) -> None:
        assert of == 3
        if done == 1:
            stop.set()

    assert measuring.measure(agent, study, progress=halt, stop=stop) is None
    outcomes = Outcomes(agent.connection, agent.site_key, study.sha256)
    assert outcomes.known() < {"P-0", "P-1", "P-2"}
    told: list[tuple[int, int]] = []
    said = released(measuring.measure(agent, study, progress=lambda *at: told.append(at)))
    assert told[-1] == (3, 3)
    assert len(said.tables[0].counts) == 15


def test_a_changed_attribute_voids_the_approval(
    agent: Agent, approve: Callable[..., Opened[Study]]
) -> None:
    study = approve(Cohort(rule="everyone-who-meets", sexes=(Sex.FEMALE,)))
    people = [replace(one, attributes=Attributes(sex="F")) for one in agent.snapshot.people()]
    agent.snapshot.freeze(people, agent.site_key)
    with pytest.raises(ConsentMissingError):
        measuring.measure(agent, study)


def test_show_says_in_plain_words_who_counts_and_which_groups(
    agent: Agent, approve: Callable[..., Opened[Study]]
) -> None:
    study = approve(COHORT)
    said = "\n".join(explain(study, agent.policy, PrivacyLoss(0)))
    for words in (
        "only those  of sex F or M",
        "aged 18 to 79 at their first scan",
        "first scan is MR",
        "chance of 60%",
        "do not tell is left out",
        "nothing is refused for it",
        "everybody counted is in one of its cells",
        "groups      sex=F, sex=M, sex=other",
        "a group (sex=F, sex=M, sex=other), and within it",
    ):
        assert words in said
