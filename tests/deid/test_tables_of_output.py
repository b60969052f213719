"""Risk of a folder that the de-identifier wrote, read from its headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reidscope_deid.keys import SiteKey
from reidscope_deid.profile import load_profile
from reidscope_deid.tables.of_output import RiskLimits, beyond, risk_of_series
from reidscope_deid.tree import deidentify_tree
from reidscope_protocols.errors import InputError, NoDicomError

Slice = Callable[..., Path]
ROOT = "1.2.826.0.1.3680043.8.498.7"


def originals(slice_file: Slice, people: int, **changes: object) -> Path:
    for number in range(people):
        per_person = {
            name: value(number) if callable(value) else value for name, value in changes.items()
        }
        path = slice_file(
            f"in/{number}.dcm",
            PatientID=f"MRN-{number}",
            PatientName=f"Doe^Jane{number}",
            StudyInstanceUID=f"{ROOT}.1.{number}",
            SeriesInstanceUID=f"{ROOT}.2.{number}",
            SOPInstanceUID=f"{ROOT}.3.{number}",
            **per_person,
        )
    return path.parent


def test_what_a_profile_keeps_is_what_counts(
    slice_file: Slice, key: SiteKey, tmp_path: Path
) -> None:
    source = originals(
        slice_file,
        6,
        PatientSex=lambda n: "FM"[n % 2],
        PatientAge=lambda n: f"{40 + n // 2:03}Y",
        PatientWeight=lambda n: 70 + n // 2,
        StudyDate="20200317",
    )
    found = {}
    for name in ("basic", "limited-data-set"):
        out = tmp_path / name
        deidentify_tree(source, out, key=key, profile=load_profile(name))
        found[name] = risk_of_series(out, dates_moved=name == "basic")
    # under basic nothing about the person is left, and moved dates say nothing: six alike
    assert "age" not in found["basic"].traits
    assert found["basic"].figures.sample.k == 6
    # with true dates, sex, age and weight: 2 sexes x 3 ages, everybody alone
    kept = found["limited-data-set"]
    assert {"sex": 2, "age": 3, "weight": 1, "month of study": 1}.items() <= kept.traits.items()
    assert kept.figures.sample.k == 1
    assert kept.figures.sample.uniques == 6
    assert beyond(kept, RiskLimits(k=2, average=0.5)) == ("k", "average")
    assert beyond(kept, RiskLimits(k=1, average=1.0)) == ()


def test_several_scans_of_a_person_are_one_row_that_says_all(slice_file: Slice) -> None:
    for number, month in enumerate(("01", "02", "01", "02")):
        path = slice_file(
            f"in/{number}.dcm", PatientID=f"P-{number // 2}", StudyDate=f"2020{month}05"
        )
    slice_file("in/4.dcm", PatientID="P-2", StudyDate="20200109")
    risk = risk_of_series(path.parent)
    assert risk.figures.sample.rows == 3
    # January and February together, twice; January alone, once
    assert risk.traits["month of study"] == 2
    assert risk.figures.sample.histogram == {1: 1, 2: 1}


def test_moved_dates_count_by_what_lies_between_them(slice_file: Slice) -> None:
    # one visit each in any month is alike; two visits four months apart are not
    for number, day in enumerate(("20200105", "20210719", "20180311", "20180711")):
        path = slice_file(f"in/{number}.dcm", PatientID=f"P-{min(number, 2)}", StudyDate=day)
    assert risk_of_series(path.parent).figures.sample.uniques == 3
    moved = risk_of_series(path.parent, dates_moved=True)
    assert moved.figures.sample.histogram == {1: 1, 2: 1}


def test_ages_in_other_units_are_years_and_bands_meet_at_their_edges(slice_file: Slice) -> None:
    ages = ("024M", "104W", "731D", "002Y")
    weights = ("75", "79.9", "75.0", "77")
    sizes = ("1.70", "1.7", "1.74", "1.70000")
    for number in range(4):
        path = slice_file(
            f"in/{number}.dcm",
            PatientID=f"P-{number}",
            PatientAge=ages[number],
            PatientWeight=weights[number],
            PatientSize=sizes[number],
        )
    traits = risk_of_series(path.parent).traits
    assert (traits["weight"], traits["size"]) == (1, 1)
    # 104 weeks are 728 days: two days short of two years
    assert traits["age"] == 2


def test_the_report_names_traits_and_no_value_nor_pseudonym(slice_file: Slice) -> None:
    path = slice_file(PatientID="P-ZEBULON", InstitutionName="St Zebulon")
    text = json.dumps(risk_of_series(path.parent, sampling_fraction=0.1).document())
    assert "institution" in text
    assert "ZEBULON" not in text.upper()
    assert "site alone" in text


def test_what_is_no_output_is_refused(slice_file: Slice, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoDicomError):
        risk_of_series(tmp_path / "empty")
    with pytest.raises(InputError):
        risk_of_series(tmp_path / "absent")
    path = slice_file(PatientID="")
    with pytest.raises(InputError, match="names no person"):
        risk_of_series(path.parent)
    (path.parent / "ZEBULON.txt").write_text("no DICOM")
    path.unlink()
    with pytest.raises(InputError) as caught:
        risk_of_series(path.parent)
    assert "ZEBULON" not in str(caught.value)
