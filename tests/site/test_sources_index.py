"""Only what changed is read again, and what is kept of it tells nobody who is in it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import ConfigError, InvariantError, NotReadyError
from reidscope_protocols.vocabulary import Mate
from reidscope_site import package
from reidscope_site.agent import Agent
from reidscope_site.config import SiteConfig
from reidscope_site.face.geometry import SeriesProblem, SliceHeader
from reidscope_site.indexing import index, resolve
from reidscope_site.snapshot import Person, Scan
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.facts import FileFacts, details_of, read_facts
from reidscope_site.sources.finder import Traits, find_head
from reidscope_site.sources.listing import Listing, ScanSeries
from reidscope_site.store import connect
from reidscope_site.verbs import told

KEY = SiteKey(bytes(range(32)))
Series = Callable[..., tuple[Path, ...]]


@pytest.fixture
def two_dates(agent: Agent, series: Series) -> Path:
    """One person of two dates, one with a photo, one with neither."""
    folder = Path(agent.config.dicom)
    series(folder / "a", "SECRET-A", SeriesDate="20190101")
    series(folder / "b", "SECRET-A", SeriesDate="20200101")
    series(folder / "c", "SECRET-B")
    series(folder / "d", "SECRET-C")
    Path(agent.config.photos, "b.png").write_bytes(b"photo")
    Path(agent.config.links).write_text("patient_id,photo\nSECRET-B,b.png\n")
    return folder


def test_a_person_takes_part_with_a_photo_or_a_second_date(agent: Agent, two_dates: Path) -> None:
    found = index(agent)
    has = {(each.has(Mate.PHOTO), each.has(Mate.SECOND_SCAN)) for each in found.resolution.people}
    assert has == {(False, True), (True, False)}
    assert found.resolution.excluded == {"no-photo-and-one-date-only": 1}
    assert tuple(agent.snapshot.people()) == found.resolution.people
    assert all(person.first == person.scans[0] for person in found.resolution.people)
    lines = list(told(json.loads(json.dumps(found.answer()))))
    assert lines[0].startswith("indexed 2 people: 1 with a photo, 1 with scans of two dates")
    assert "SECRET" not in " ".join(lines)
    assert two_dates.is_dir()


def test_only_new_and_changed_files_are_read_again(
    agent: Agent, two_dates: Path, series: Series
) -> None:
    assert index(agent).read == 48
    before = agent.snapshot.digest()
    assert index(agent).read == 0
    assert agent.snapshot.digest() == before
    changed = next((two_dates / "a").iterdir())
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    series(two_dates / "e", "SECRET-B", slices=3)
    assert index(agent).read == 4
    touched = next((two_dates / "b").iterdir())
    os.utime(touched, ns=(1, 1))
    assert index(agent).read == 1
    for path in (two_dates / "e").iterdir():
        path.unlink()
    assert index(agent).read == 0
    assert agent.connection.execute("SELECT COUNT(*) FROM header").fetchone() == (48,)


@pytest.mark.usefixtures("two_dates")
def test_the_index_says_neither_who_nor_where(agent: Agent) -> None:
    index(agent)
    rows = [
        *agent.connection.execute("SELECT place, sealed FROM header"),
        *agent.connection.execute("SELECT place, sealed FROM finding"),
    ]
    assert len(rows) > 48
    for place, sealed in rows:
        for text in (b"SECRET", b"2019", b"dcm", b"HEAD"):
            assert text not in place + sealed
    # nothing is opened with another key, or moved to another file: it is read again
    agent.connection.execute("UPDATE header SET sealed = (SELECT sealed FROM header LIMIT 1)")
    assert index(agent).read == 47


@pytest.mark.usefixtures("two_dates")
def test_another_version_reads_everything_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(agent)
    monkeypatch.setattr(package, "sha256", lambda: "0" * 64)
    assert index(agent).read == 48


def test_an_index_that_is_stopped_goes_on_where_it_was(agent: Agent, two_dates: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(agent, stop)
    with pytest.raises(NotReadyError):
        agent.snapshot.digest()
    assert index(agent).read == 18
    assert two_dates.is_dir()


def test_an_older_snapshot_is_forgotten_and_asks_for_a_new_index(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("CREATE TABLE person (pseudonym TEXT PRIMARY KEY, files TEXT, photo TEXT)")
        old.execute("INSERT INTO person VALUES ('P-1', '[]', 'x')")
        old.execute("CREATE TABLE snapshot (only INTEGER, digest TEXT, taken_at TEXT)")
        old.execute("INSERT INTO snapshot VALUES (1, 'digest', 'then')")
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT * FROM snapshot").fetchall() == []
        assert connection.execute("SELECT * FROM person").fetchall() == []
        connection.execute("INSERT INTO person (pseudonym, scans) VALUES ('P-1', '[]')")
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM person").fetchone() == (1,)


@pytest.mark.parametrize("taken", [(), ("b", "a"), ("a", "a")])
def test_a_person_without_scans_or_with_two_of_one_date_cannot_be(taken: tuple[str, ...]) -> None:
    scans = tuple(Scan(kind="dicom", files=(Path("x"),), taken=each) for each in taken)
    with pytest.raises(InvariantError):
        Person(pseudonym="P-1", scans=scans, photo=None)


@pytest.mark.parametrize(
    "fields",
    [{}, {"photos": "p"}, {"dicom": "d", "links": "l"}, {"dicom": "d", "photos": "p"}],
)
def test_a_site_says_where_its_scans_are_and_links_its_photos(fields: dict[str, str]) -> None:
    with pytest.raises((ValueError, ConfigError)):
        SiteConfig(name="north", **fields)


GOOD = [
    SliceHeader(
        rows=256,
        columns=256,
        position=(float(k), -125.0, 120.0),
        orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
        pixel_spacing=(1.0, 1.0),
        modality="MR",
        body_part="HEAD",
    )
    for k in range(176)
]
T1 = Traits(image_type=("ORIGINAL", "PRIMARY", "M"), acquisition="3D", echoes_ms=(3.0,))
T1 = replace(T1, inversion_ms=900.0, repetition_ms=2300.0)

KINDS = {
    SeriesProblem.LOCALIZER: {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")},
    SeriesProblem.DERIVED: {"image_type": ("DERIVED", "SECONDARY", "MPR")},
    SeriesProblem.SECONDARY_CAPTURE: {"capture": True},
    SeriesProblem.DIFFUSION: {"b_value": 1000.0},
    SeriesProblem.MULTI_ECHO: {"echoes_ms": (3.0, 6.0)},
}


@pytest.mark.parametrize("problem", KINDS)
def test_what_is_no_plain_image_is_no_head_whatever_its_geometry(problem: SeriesProblem) -> None:
    odd: dict[str, Any] = KINDS[problem]
    assert find_head(GOOD, [T1]).problem is None
    assert find_head(GOOD, [T1, replace(T1, **odd)]).problem is problem


def test_a_mip_or_an_adc_map_is_no_head_though_it_calls_itself_primary() -> None:
    for word in ("ADC", "MIP", "PROJECTION IMAGE", "PHASE MAP"):
        odd = replace(T1, image_type=("DERIVED", "PRIMARY", word))
        assert find_head(GOOD, [odd]).problem is SeriesProblem.DERIVED


def thick(step: float) -> list[SliceHeader]:
    return [replace(each, position=(step * k, -125.0, 120.0)) for k, each in enumerate(GOOD[:60])]


def test_of_one_date_a_thin_whole_t1_is_preferred() -> None:
    flat = replace(T1, acquisition="2D")
    other = replace(T1, inversion_ms=None, echoes_ms=(90.0,))
    ct = [replace(each, modality="CT") for each in GOOD]
    processed = replace(T1, image_type=("DERIVED", "PRIMARY", "M"))
    ranked = [
        find_head(GOOD, [T1]),
        find_head(thick(3.0), [T1]),
        find_head(GOOD, [processed]),
        find_head(ct, [Traits()]),
        find_head(GOOD, [other]),
        find_head(GOOD, [flat]),
    ]
    assert all(found.problem is None for found in ranked)
    assert [found.preference for found in ranked] == sorted(found.preference for found in ranked)
    larger = [replace(each, rows=280) for each in GOOD]
    assert find_head(larger, [T1]).preference < find_head(GOOD, [T1]).preference


def test_the_preferred_series_of_each_date_is_taken_and_the_others_are_told(
    tmp_path: Path, series: Series
) -> None:
    sharp = {"MRAcquisitionType": "3D", "EchoTime": 3, "InversionTime": 900, "RepetitionTime": 2000}
    study = {"StudyInstanceUID": "1.2.3"}
    series(tmp_path / "a", "A", SeriesTime="080000", **study)
    wanted = series(tmp_path / "b", "A", SeriesTime="090000", **sharp, **study)
    series(tmp_path / "c", "A", SeriesTime="070000", ImageType=["DERIVED", "SECONDARY"], **study)
    # past midnight, and still the same examination
    series(tmp_path / "d", "A", SeriesDate="20200102", **study)
    later = series(tmp_path / "e", "A", SeriesDate="20210101")
    found = resolve(list_folder(tmp_path), {}, KEY)
    (person,) = found.people
    assert [set(scan.files) for scan in person.scans] == [set(wanted), set(later)]
    assert [scan.taken for scan in person.scans] == ["20200101", "20210101"]
    assert found.series == {"taken": 2, "another-of-that-date-is-better": 2, "derived": 1}


def test_what_the_deidentifier_leaves_out_gives_way_to_the_next_of_that_date(
    tmp_path: Path, series: Series
) -> None:
    best = {"MRAcquisitionType": "3D", "EchoTime": 3, "InversionTime": 900}
    series(tmp_path / "a", "A", BurnedInAnnotation="YES", StudyInstanceUID="1.2.3", **best)
    wanted = series(tmp_path / "b", "A", StudyInstanceUID="1.2.3")
    found = resolve(list_folder(tmp_path), {"A": Path("photo")}, KEY)
    assert set(found.people[0].first.files) == set(wanted)
    assert found.series == {"taken": 1, "burned-in-text": 1}


def test_a_scan_without_a_date_is_no_second_one(tmp_path: Path, series: Series) -> None:
    series(tmp_path / "a", "A", SeriesDate="", StudyDate="")
    series(tmp_path / "b", "A")
    found = resolve(list_folder(tmp_path), {"A": Path("photo")}, KEY)
    assert len(found.people[0].scans) == 1
    assert found.series == {"taken": 1, "no-date-beside-dated-ones": 1}


def test_a_series_in_two_folders_counts_once(tmp_path: Path, series: Series) -> None:
    first = series(tmp_path / "one/a", "A")
    (tmp_path / "two").mkdir()
    for path in first:
        (tmp_path / "two" / path.name).write_bytes(path.read_bytes())
    (found,) = list_folder(tmp_path / "one", tmp_path / "two").series["A"]
    assert found.files == first
    assert found.problem is None


@given(
    words=st.lists(st.text(max_size=8), min_size=6, max_size=6),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    frames=st.integers(0, 3),
)
def test_facts_are_kept_as_they_were_read(
    words: list[str], numbers: list[float], frames: int
) -> None:
    patient, born, series_uid, study, date, taken = words
    echo, repetition, weighting = numbers
    slices = (*GOOD[:frames], replace(GOOD[0], position=None))
    traits = replace(T1, echoes_ms=(echo,), repetition_ms=repetition, b_value=weighting)
    facts = FileFacts(
        patient_id=patient,
        born=born,
        series_uid=series_uid,
        study_uid=study,
        date=date,
        taken=taken,
        details=details_of(slices, traits),
    )
    assert (facts.slices, facts.traits) == (slices, traits)
    assert FileFacts.decode(facts.encode()) == facts


def test_facts_of_a_file_are_its_header_alone(tmp_path: Path, series: Series) -> None:
    (path, _) = series(tmp_path, "A", slices=2)
    dataset = pydicom.dcmread(path)
    before = read_facts(path)
    dataset.PixelData = b"\1" * len(dataset.PixelData)
    dataset.save_as(path)
    assert read_facts(path) == before != None  # noqa: E711 - both at once


def test_removing_a_person_changes_nobody_elses_choice(tmp_path: Path, series: Series) -> None:
    for patient in ("A", "B", "C"):
        for date in ("20190101", "20200101"):
            series(tmp_path / patient / date, patient, SeriesDate=date)
    whole = list_folder(tmp_path)
    before = {person.pseudonym: person for person in resolve(whole, {}, KEY).people}
    rest: dict[str, Any] = {name: held for name, held in whole.series.items() if name != "B"}
    after = resolve(Listing(series=rest, skipped=0), {}, KEY).people
    assert len(before) == 3
    assert [before[person.pseudonym] for person in after] == list(after)
    assert all(isinstance(one, ScanSeries) for held in rest.values() for one in held)
