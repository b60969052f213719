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
from reidscope_deid.table import OPTIONS, load_table, load_types
from reidscope_deid.vocabulary import load_words
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


@pytest.mark.parametrize(
    ("code", "needed", "action"),
    [
        ("X/Z", 3, Action.DROP),
        ("X/Z", 2, Action.EMPTY),
        ("X/D", 3, Action.DROP),
        ("X/D", 1, Action.DUMMY),
        ("X/Z/D", 3, Action.DROP),
        ("X/Z/D", 2, Action.EMPTY),
        ("X/Z/D", 1, Action.DUMMY),
        ("Z/D", 3, Action.EMPTY),
        ("Z/D", 2, Action.EMPTY),
        ("Z/D", 1, Action.DUMMY),
        # Stricter than the code offers: what keeps the object valid.
        ("X/D", 2, Action.DUMMY),
        ("X/Z", 1, Action.EMPTY),
        # A plain code leaves no choice.
        ("X", 1, Action.DROP),
        ("Z", 1, Action.EMPTY),
        ("D", 3, Action.DUMMY),
    ],
)
def test_a_compound_code_is_resolved_by_the_type_that_the_object_gives_the_attribute(
    code: str, needed: int, action: Action
) -> None:
    assert resolve(code, "LO", needed) is action


def test_types_are_known_for_every_class_that_is_taken() -> None:
    types = load_types()
    compound = {row.number for row in load_table().rows if "/" in row.basic}
    assert types.keys() == load_allow_list().sop_classes.keys()
    for one in types.values():
        assert compound.issuperset(one.top.keys() | one.nested.keys())
        assert set(one.top.values()) | set(one.nested.values()) <= {1, 2, 3}
    pet, ct = (types[f"1.2.840.10008.5.1.4.1.1.{end}".encode()] for end in ("128", "2"))
    assert (pet.top[0x00080021], ct.top[0x00080021]) == (1, 3)  # Series Date


def test_the_tables_of_content_items_and_of_safe_private_attributes_are_whole() -> None:
    table = load_table()
    assert len(table.content_items) == 214
    assert {item.basic for item in table.content_items} == {"X", "D", "X/D"}
    assert all(set(item.options) <= set(OPTIONS) for item in table.content_items)
    assert len(table.safe_private) == 87
    places = {(row.creator, row.group, row.element) for row in table.safe_private}
    assert len(places) == 87
    assert all(int(row.group, 16) & 1 and len(row.element) == 2 for row in table.safe_private)


def test_the_words_of_a_cleaned_description_are_plain_and_no_names() -> None:
    words = load_words()
    assert len(words) > 1000
    assert all(re.fullmatch(rb"[0-9A-Z]{2,}", word) for word in words)
    assert words.isdisjoint({b"DOE", b"JANE", b"SMITH", b"MUELLER", b"JAMES", b"HOSPITAL"})


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
    with pytest.raises(UnsupportedError, match="another name"):
        load_profile("basic", ("retain-everything",))
    chosen = load_profile("basic-undated", ("retain-longitudinal-modified-dates",))
    assert chosen.rules == load_profile("basic").rules


def test_the_code_holds_no_list_of_attributes() -> None:
    package = Path(reidscope_deid.__file__).parent
    for path in package.glob("*.py"):
        keywords = re.findall(r'"[A-Z][a-z]+(?:[A-Z][A-Za-z]+)+"', path.read_text())
        assert len(keywords) <= 8, path.name
