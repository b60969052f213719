"""The standard and the allow-list as data, and how they become rules."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

import reidscope_deid
from reidscope_deid.actions import Action, resolve
from reidscope_deid.allowed import load_allow_list, load_codes
from reidscope_deid.explanation import explain
from reidscope_deid.profile import load_profile, profile_names
from reidscope_deid.table import OPTIONS, load_table
from reidscope_protocols.errors import UnsupportedError

CODES = {"X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}


def independent_copy() -> dict[str, str]:
    """Basic profile of edition 2026c as the wheel of dicom-anonymizer 2.1.0 states it."""
    spec = importlib.util.find_spec("dicomanonymizer")
    assert spec is not None, "pip install --no-deps -r requirements-test-data.txt"
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "dicom_anonymization_databases"
    names = {
        "D_TAGS": "D",
        "Z_TAGS": "Z",
        "X_TAGS": "X",
        "U_TAGS": "U",
        "Z_D_TAGS": "Z/D",
        "X_Z_TAGS": "X/Z",
        "X_D_TAGS": "X/D",
        "X_Z_D_TAGS": "X/Z/D",
        "X_Z_U_STAR_TAGS": "X/Z/U*",
    }
    found = {}
    # Read, not imported: importing the package pulls in what it needs to run.
    for node in ast.parse((folder / "dicomfields_2026c.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            code = names.get(node.targets[0].id)
            for tag in ast.literal_eval(node.value) if code else ():
                if len(tag) == 2:
                    found[f"{tag[0]:04X}{tag[1]:04X}"] = str(code)
    return found


def test_an_independent_copy_of_the_standard_agrees_on_every_attribute_that_both_have() -> None:
    theirs = independent_copy()
    ours = {row.tag: row.basic for row in load_table().rows}
    both = theirs.keys() & ours.keys()
    assert len(both) > 600
    assert {tag: (ours[tag], theirs[tag]) for tag in both if ours[tag] != theirs[tag]} == {}
    assert theirs.keys() - ours.keys() == set()


def test_the_table_is_a_whole_edition_in_order() -> None:
    table = load_table()
    assert table.edition == "2026d"
    assert len(table.rows) == 657
    tags = [row.tag for row in table.rows]
    assert tags == sorted(set(tags))
    for row in table.rows:
        assert row.basic in CODES
        assert set(row.options) <= set(OPTIONS)
        assert set(row.options.values()) <= {"K", "C"}
        if row.number is not None and dictionary_has_tag(row.number):
            assert row.vr == dictionary_VR(row.number)


def test_nothing_is_both_in_the_table_and_on_the_allow_list() -> None:
    tags = {row.number for row in load_table().rows}
    assert tags.isdisjoint(load_allow_list().attributes)


def test_what_is_kept_is_public_named_and_never_free_text() -> None:
    for tag, kept in load_allow_list().attributes.items():
        assert keyword_for_tag(tag) == kept.keyword
        assert not tag >> 16 & 1
        assert kept.reason
        if kept.vrs & {"LO", "SH", "ST", "LT", "UT", "UC", "PN", "UR", "AE"}:
            assert kept.terms
            assert not kept.keeps(b"Doe^Jane")


@pytest.mark.parametrize(
    ("code", "vr", "action"),
    [
        ("X", "LO", Action.DROP),
        ("Z", "LO", Action.EMPTY),
        ("D", "LO", Action.DUMMY),
        ("X/Z", "LO", Action.EMPTY),
        ("X/D", "LO", Action.DUMMY),
        ("X/Z/D", "LO", Action.DUMMY),
        ("Z/D", "LO", Action.DUMMY),
        ("D", "SQ", Action.EMPTY),
        ("X/Z/U*", "SQ", Action.WALK),
        ("U", "UI", Action.REMAP),
        ("D", "UI", Action.REMAP),
    ],
)
def test_a_compound_code_is_resolved_so_that_the_element_stays_if_it_may_be_needed(
    code: str, vr: str, action: Action
) -> None:
    assert resolve(code, vr) is action


def test_every_attribute_of_the_table_does_what_the_table_says() -> None:
    rules = load_profile("basic-undated").rules
    for row in load_table().rows:
        if row.basic == "X":
            assert row.number not in rules
        elif row.vr is not None and row.number is not None and row.number >> 16 > 4:
            assert rules[row.number].action is not Action.KEEP


def test_the_modified_dates_option_moves_dates_that_basic_alone_removes_but_no_birth_date() -> None:
    basic, undated = load_profile("basic").rules, load_profile("basic-undated").rules
    assert basic[0x00080020].action is Action.SHIFT
    assert undated[0x00080020].action is Action.EMPTY
    assert basic[0x00100030].action is undated[0x00100030].action is Action.EMPTY
    assert 0x00080201 not in basic  # the time zone says where


def test_public_codes_say_what_the_standard_says() -> None:
    codes = load_codes()
    assert codes[b"SCT", b"69536005"] == b"Head"
    assert codes[b"DCM", b"121320"] == b"Uncompressed predecessor"
    assert all(0 < len(meaning) <= 64 for meaning in codes.values())


def test_explain_lists_every_row_of_both_files_once() -> None:
    for name in profile_names():
        rows = explain(load_profile(name))
        assert len(rows) == len(load_table().rows) + len(load_allow_list().attributes)
        assert len({row.tag for row in rows}) == len(rows)


def test_what_is_not_offered_is_refused_with_what_is() -> None:
    with pytest.raises(UnsupportedError, match="basic-undated"):
        load_profile("gold-plated")
    with pytest.raises(
        UnsupportedError, match=r"later version.*retain_longitudinal_modified_dates"
    ):
        load_profile("basic", ("retain-uids",))
    with pytest.raises(UnsupportedError, match="another name"):
        load_profile("basic", ("retain-everything",))
    chosen = load_profile("basic-undated", ("retain-longitudinal-modified-dates",))
    assert chosen.rules == load_profile("basic").rules


def test_the_code_holds_no_list_of_attributes() -> None:
    package = Path(reidscope_deid.__file__).parent
    for path in package.glob("*.py"):
        keywords = re.findall(r'"[A-Z][a-z]+(?:[A-Z][A-Za-z]+)+"', path.read_text())
        assert len(keywords) <= 8, path.name
