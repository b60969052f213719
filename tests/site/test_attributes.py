"""Attributes are settled at `index`: from each person's own first scan, and from the link file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reidscope_deid.keys import SiteKey
from reidscope_deid.pseudonyms import pseudonym
from reidscope_protocols.errors import LinkError
from reidscope_site.attributes import NOTHING_KNOWN, Attributes
from reidscope_site.indexing import resolve
from reidscope_site.sources.dicom_folder import list_folder
from reidscope_site.sources.links import known_links, read_groups, read_links

KEY = SiteKey(bytes(range(32)))
Series = Callable[..., tuple[Path, ...]]


def settled(folder: Path, **options: dict[str, str]) -> dict[str, Attributes]:
    """Index a folder; attributes by pseudonym."""
    found = resolve(list_folder(folder), {}, KEY, **options)
    return {person.pseudonym: person.attributes for person in found.people}


def test_attributes_are_those_of_the_first_scan_by_date(tmp_path: Path, series: Series) -> None:
    for date, age, sex in (("20190101", "048Y", "F"), ("20210101", "050Y", "M")):
        series(
            tmp_path / date, "A", StudyDate=date, SeriesDate=date, PatientAge=age, PatientSex=sex
        )
    assert settled(tmp_path) == {
        pseudonym(KEY, "A"): Attributes(sex="F", age_years=48, modality="MR", year=2019)
    }


@pytest.mark.parametrize(
    ("elements", "known"),
    [
        ({}, Attributes(modality="MR", year=2019)),
        ({"PatientSex": "f"}, Attributes(sex="F", modality="MR", year=2019)),
        ({"PatientSex": "female"}, Attributes(modality="MR", year=2019)),
        ({"PatientBirthDate": "19900601"}, Attributes(age_years=28, modality="MR", year=2019)),
        ({"PatientAge": "", "PatientBirthDate": "x"}, Attributes(modality="MR", year=2019)),
        (
            {"Modality": "CT", "RescaleIntercept": "-1024", "RescaleSlope": "1"},
            Attributes(modality="CT", year=2019),
        ),
    ],
)
def test_what_a_header_does_not_tell_is_not_known(
    tmp_path: Path, series: Series, elements: dict[str, str], known: Attributes
) -> None:
    for date in ("20190101", "20210101"):
        series(tmp_path / date, "A", StudyDate=date, SeriesDate=date, **elements)
    assert list(settled(tmp_path).values()) == [known]


def test_files_of_a_series_that_contradict_each_other_tell_nothing(
    tmp_path: Path, series: Series
) -> None:
    series(tmp_path / "later", "A", StudyDate="20210101", SeriesDate="20210101")
    uid, study = "1.2.3", "1.2.3.4"
    for number, sex in enumerate(("F", "M")):
        skip = tuple(n for n in range(12) if n % 2 != number)
        series(
            tmp_path / sex, "A", skip=skip, SeriesInstanceUID=uid, StudyInstanceUID=study,
            PatientSex=sex, PatientAge="030Y",
        )  # fmt: skip
    (known,) = settled(tmp_path).values()
    assert known == Attributes(sex="", age_years=30, modality="MR", year=2020)


def test_attributes_of_a_person_are_the_same_in_any_company(tmp_path: Path, series: Series) -> None:
    for patient, sex in (("A", "F"), ("B", "M"), ("C", "")):
        for date in ("20190101", "20210101"):
            folder = tmp_path / patient / date
            series(folder, patient, StudyDate=date, SeriesDate=date, PatientSex=sex)
    together = settled(tmp_path)
    for patient in "ABC":
        assert settled(tmp_path / patient).items() <= together.items()


LINKS = "patient_id,photo,group\nA,a.png,left\nB,,right\nC,c.png,\n"


@pytest.fixture
def linked(tmp_path: Path) -> Callable[[str], Path]:
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(name.encode())

    def write(text: str) -> Path:
        path = tmp_path / "links.csv"
        path.write_text(text)
        return path

    return write


def test_a_link_file_may_name_a_group_with_or_without_a_photo(
    tmp_path: Path, linked: Callable[[str], Path]
) -> None:
    path = linked(LINKS)
    assert set(read_links(path, tmp_path)) == {"A", "C"}
    assert read_groups(path) == {"A": "left", "B": "right", "C": ""}
    assert read_groups(linked("patient_id,photo\nA,a.png\n")) == {}


def test_a_group_is_the_persons_own_by_the_sites_own_id(tmp_path: Path, series: Series) -> None:
    for patient in ("A", "B"):
        for date in ("20190101", "20210101"):
            series(tmp_path / patient / date, patient, StudyDate=date, SeriesDate=date)
    known = settled(tmp_path, groups={"A": "left"})
    assert {name: each.group for name, each in known.items()} == {
        pseudonym(KEY, "A"): "left",
        pseudonym(KEY, "B"): "",
    }


@pytest.mark.parametrize(
    "rows",
    [
        "SECRET-X,,\n",
        ",,left\n",
        "SECRET-X,,left\nSECRET-X,a.png,left\n",
        "SECRET-X,a.png,left,more\n",
        f"SECRET-X,a.png,{'x' * 65}\n",
        'SECRET-X,a.png,"SECRET\x07left"\n',
        "SECRET-X,nowhere.png,left\n",
    ],
)
def test_a_bad_row_with_a_group_is_refused_by_its_number_alone(
    tmp_path: Path, linked: Callable[[str], Path], rows: str
) -> None:
    path = linked(f"patient_id,photo,group\n{rows}")
    with pytest.raises(LinkError, match=r"line [23]") as caught:
        (read_links(path, tmp_path), read_groups(path))
    assert "SECRET" not in str(caught.value)


def test_a_group_of_nobody_is_refused(linked: Callable[[str], Path]) -> None:
    with pytest.raises(LinkError, match="1 rows that name nobody"):
        known_links(read_groups(linked(LINKS)), ["A", "C"])


def test_nothing_is_known_where_nothing_is_told() -> None:
    assert Attributes.decoded({}) == NOTHING_KNOWN
