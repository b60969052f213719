"""The contact sheet: private, whole in itself, and silent about any match."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import ConfigError, NotReadyError
from reidscope_protocols.recogniser import SFACE
from reidscope_site.agent import Agent
from reidscope_site.review.folder import ReviewFolder
from reidscope_site.review.looking import Job, Looker, Room
from reidscope_site.review.making import make_sheets
from reidscope_site.review.marks import keep_marks, read_marks
from reidscope_site.review.page import PEOPLE_A_PAGE, write_pages
from reidscope_site.review.sheet import ArmView, Flag, PhotoView, ScanView, Sheet, read_sheet
from reidscope_site.snapshot import Person

PICTURE = base64.b64encode(b"a picture").decode()


def sheet(name: str = "P-ABCDEF", *flags: Flag, **changes: Any) -> Sheet:
    arms = (
        ArmView(arm="unmodified", picture=PICTURE, failed=()),
        ArmView(arm="blur", picture=PICTURE, failed=("face not gone",), comparison=True),
        ArmView(arm="facemask", picture="", failed=("brain changed (2.00%)",)),
        ArmView(arm="quickshear", picture=PICTURE, failed=()),
    )
    said: dict[str, Any] = {
        "person": name,
        "asked": "ab" * 32,
        "photo": PhotoView(
            width=640, height=480, picture=PICTURE, faces=((10, 20, 110, 140),), marked=None
        ),
        "scans": (ScanView(chosen="scan 1 of 1", measured="similarity 0.95", arms=arms),),
        "flags": flags,
        **changes,
    }
    return Sheet(**said)


def pages(folder: ReviewFolder, *sheets: Sheet, **changes: Any) -> list[str]:
    said: dict[str, Any] = {
        "arms": ("unmodified", "blur"),
        "absent": (),
        "study": None,
        "failed": (),
        "waiting": 0,
        **changes,
    }
    write_pages(folder, sheets, **said)
    return [path.read_text() for path in sorted(folder.root.glob("*.html"))]


@pytest.fixture
def folder(tmp_path: Path) -> ReviewFolder:
    return ReviewFolder.prepared(tmp_path / "review")


def test_a_page_shows_boxes_gates_and_flags_of_every_arm(folder: ReviewFolder) -> None:
    (page,) = pages(folder, sheet("P-ABCDEF", Flag.GATE_FAILED))
    assert '<rect class="found" x="10" y="20" width="100" height="120"/>' in page
    assert "P-ABCDEF" in page
    for words in (
        "failed: brain changed (2.00%)",
        "passed",
        "a comparison, no defacer",
        "as it is",
    ):
        assert words in page
    assert page.count("data:image/jpeg;base64,") == 4
    assert "nothing stands out" in page


def test_a_page_asks_nobody_for_anything(folder: ReviewFolder) -> None:
    (page,) = pages(folder, sheet())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "http:" not in policy[1] + policy[1].replace("img-src data:", "")
    addresses = set(re.findall(r"https?://[^\s\"']+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,)', page)


def test_a_page_says_that_it_stays_and_how_it_is_deleted(folder: ReviewFolder) -> None:
    (page,) = pages(folder, sheet())
    assert "never leaves this site" in page
    assert "review --wipe" in page


def test_a_sheet_has_no_place_for_a_result_of_matching() -> None:
    assert set(Sheet.model_fields) == {"person", "asked", "photo", "scans", "flags"}
    assert set(PhotoView.model_fields) == {"width", "height", "picture", "faces", "marked"}
    assert set(ScanView.model_fields) == {"chosen", "measured", "arms"}
    assert set(ArmView.model_fields) == {
        "arm", "picture", "failed", "comparison", "measured", "detected",
    }  # fmt: skip
    given = {field.name for field in fields(Room)}
    assert given == {
        *("arms", "attacked", "second_is_mate", "grey", "detector", "declared"),
        *("key_file", "work"),
    }


@pytest.mark.slow
def test_what_looks_at_people_has_no_recogniser() -> None:
    code = (
        "import sys, reidscope_site.review.views, reidscope_site.review.making\n"
        "print(sorted(name for name in sys.modules if name in {'onnxruntime',"
        " 'reidscope_site.face.recognise', 'reidscope_site.face.compare',"
        " 'reidscope_site.face.found', 'reidscope_site.coin'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=30)
@given(text=st.text(max_size=40).map(lambda text: f"<script>{text}</script>\"'&$x"))
def test_no_word_of_a_sheet_becomes_markup(tmp_path_factory: Any, text: str) -> None:
    folder = ReviewFolder.prepared(tmp_path_factory.mktemp("page") / "review")
    arms = (ArmView(arm=text, picture="", failed=(text,)),)
    hostile = sheet(text, scans=(ScanView(chosen=text, measured=text, arms=arms),))
    (page,) = pages(folder, hostile, arms=(text,), absent=(text,), study=text, failed=(text,))
    assert page.count("<script>") == page.count("</script>") == 1


def test_people_with_something_to_look_at_come_first_over_as_many_pages_as_it_takes(
    folder: ReviewFolder,
) -> None:
    fine = [sheet(f"P-{number:06d}", Flag.MARKED) for number in range(PEOPLE_A_PAGE)]
    last = sheet("P-ZZZZZZ", Flag.NO_FACE)
    first, second = pages(folder, *fine, last)
    assert first.index("P-ZZZZZZ") < first.index("P-000000")
    assert f"P-{PEOPLE_A_PAGE - 1:06d}" in second
    assert 'href="page-2.html"' in first
    assert len(pages(folder, last)) == 1


def test_everything_written_is_its_owners_alone(folder: ReviewFolder) -> None:
    pages(folder, sheet())
    assert {path.stat().st_mode & 0o777 for path in folder.root.iterdir() if path.is_file()} == {
        0o600
    }
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert folder.people.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o777])
def test_a_folder_that_others_can_enter_is_refused(folder: ReviewFolder, mode: int) -> None:
    folder.root.chmod(mode)
    with pytest.raises(ConfigError, match="other users"):
        ReviewFolder.prepared(folder.root)


def test_a_folder_with_other_things_a_file_and_a_link_are_refused(
    folder: ReviewFolder, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "thesis.txt").write_text("dear")
    file = tmp_path / "file"
    file.write_text("")
    link = tmp_path / "link"
    link.symlink_to(folder.root)
    for refused in (other, file, link):
        with pytest.raises(ConfigError) as caught:
            ReviewFolder.prepared(refused)
        assert str(tmp_path) not in str(caught.value)
    assert ReviewFolder.prepared(folder.root) == folder


def test_a_wipe_deletes_what_is_ours_and_nothing_else(folder: ReviewFolder) -> None:
    pages(folder, *(sheet(f"P-{number:06d}") for number in range(PEOPLE_A_PAGE + 1)))
    folder.sheet("P-000000").write_text(sheet().model_dump_json())
    kept = folder.root / "marks.jsonl"
    kept.write_text("{}")
    assert ReviewFolder.existing(folder.root).wipe() == 1
    assert {path.name for path in folder.root.iterdir()} == {".reidscope-review", "marks.jsonl"}
    kept.unlink()
    assert ReviewFolder.existing(folder.root).wipe() == 0
    assert not folder.root.exists()


def test_a_wipe_touches_no_folder_that_review_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("somebody's")
    for refused in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="did not make"):
            ReviewFolder.existing(refused)
    assert (tmp_path / "index.html").exists()


def test_a_sheet_of_another_version_is_none() -> None:
    assert read_sheet(sheet().model_dump_json().encode()) == sheet()
    for content in (b"", b"{}", b"\xff", sheet().model_dump_json().encode()[:-2]):
        assert read_sheet(content) is None


def test_files_that_changed_since_the_index_are_not_looked_at(
    agent: Agent, people: tuple[Person, ...], folder: ReviewFolder
) -> None:
    with pytest.raises(NotReadyError, match="index"):
        make_sheets(agent, folder, study=None, limit=None)
    agent.snapshot.freeze(people, agent.site_key)
    photo = people[0].photo
    assert photo is not None
    os.utime(photo, ns=(1, 1))
    with pytest.raises(NotReadyError, match="changed"):
        make_sheets(agent, folder, study=None, limit=None)


@pytest.mark.slow
def test_a_review_goes_on_where_it_stopped_and_looks_again_at_whom_it_must(
    hospital: Agent, tmp_path: Path
) -> None:
    policy = hospital.home.policy_file
    policy.write_text(re.sub(r"^arms = .*$", 'arms = ["unmodified", "facemask"]',
                             policy.read_text(), flags=re.MULTILINE))  # fmt: skip
    folder = ReviewFolder.prepared(tmp_path / "review")
    made = make_sheets(hospital, folder, study=None, limit=1)
    assert (made.people, made.looked_at, made.waiting, made.failed) == (2, 1, 1, 0)
    (first,) = folder.people.iterdir()
    written = first.stat().st_mtime_ns
    made = make_sheets(hospital, folder, study=None, limit=None)
    assert (made.looked_at, made.waiting) == (1, 0)
    assert first.stat().st_mtime_ns == written
    assert list(hospital.home.work.iterdir()) == []

    sheets = {path.stem: read_sheet(path.read_bytes()) for path in folder.people.iterdir()}
    crowd = next(one for one in sheets.values() if one and Flag.SEVERAL_FACES in one.flags)
    single = next(one for one in sheets.values() if one and one is not crowd)
    assert crowd.photo is not None
    assert single.photo is not None
    assert (len(crowd.photo.faces), len(single.photo.faces)) == (2, 1)
    assert [arm.arm for arm in single.scans[0].arms] == ["unmodified", "facemask"]
    assert all(arm.picture and not arm.failed for arm in single.scans[0].arms)
    assert Flag.NO_FACE_IN_SCAN not in single.flags

    box = list(crowd.photo.faces[0])
    size = (crowd.photo.width, crowd.photo.height)
    line = f'{{"person": "{crowd.person}", "box": {box}, "photo": {list(size)}}}'
    keep_marks(hospital, read_marks(line.encode()), lambda _: size)
    made = make_sheets(hospital, folder, study=None, limit=None)
    assert (made.looked_at, made.flagged) == (1, 0)
    again = read_sheet(folder.sheet(crowd.person).read_bytes())
    assert again is not None
    assert again.flags == (Flag.MARKED,)
    assert read_sheet(folder.sheet(single.person).read_bytes()) == single


@pytest.mark.parametrize("photo", ["nonsense", "absent", "none"])
def test_a_person_whose_files_are_nonsense_is_shown_as_such(
    people: tuple[Person, ...], tmp_path: Path, photo: str
) -> None:
    from reidscope_site.face.detect import Detector  # noqa: PLC0415  # loads OpenCV
    from reidscope_site.face.weights import installed_model_bytes  # noqa: PLC0415  # as above
    from reidscope_site.review.views import sheet_of  # noqa: PLC0415  # loads torch

    photos = {"nonsense": people[0].photo, "absent": tmp_path / "absent", "none": None}
    detector = installed_model_bytes().detector
    room = Room(
        arms=("unmodified",),
        attacked=1,
        second_is_mate=False,
        grey=True,
        detector=detector,
        declared=SFACE.detector,
        key_file=tmp_path / "unread",
        work=tmp_path,
    )
    looker = Looker(room=room, detector=Detector(detector), arms=(), key=SiteKey(b"k" * 32))
    person = replace(people[0], photo=photos[photo])
    job = Job(person=person, name="P-ABCDEF", asked="ab" * 32, target=tmp_path / "unwritten")
    work = tmp_path / "own"
    work.mkdir()
    seen = sheet_of(job, looker, work)
    missing = Flag.NO_PHOTO if photo == "none" else Flag.UNREADABLE_PHOTO
    assert seen.flags == (missing, Flag.UNREADABLE_SCAN)
    assert seen.photo is None
    assert [scan.arms for scan in seen.scans] == [()]
    assert str(tmp_path) not in seen.model_dump_json()
    assert list(work.iterdir()) == []
