"""Explicit and implicit elements in one file: taken, if two readers find the same in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from tests.deid.conftest import DEFLATED, EXPLICIT, IMPLICIT, PIXELS, as_bytes, mr_slice

from reidscope_deid import QuarantinedError, SiteKey, deidentify_files, load_profile
from reidscope_deid.elements import read_elements
from reidscope_deid.encoding import EXPLICIT_LITTLE
from reidscope_deid.mixed import as_explicit
from reidscope_deid.part10 import open_part10
from reidscope_deid.reasons import Reason
from reidscope_deid.series import Deidentifier

Plant = Callable[[str], tuple[bytes, dict[bytes, str]]]
Slice = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of the tokens planted


def set_syntax(content: bytes, syntax: str) -> bytes:
    """The same file, saying that it is written otherwise; the length of the group is not read."""
    for old in (EXPLICIT, IMPLICIT):
        value = old.encode() + b"\0" * (len(old) & 1)
        element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
        if element in content:
            new = syntax.encode() + b"\0" * (len(syntax) & 1)
            replaced = b"\x02\x00\x10\x00UI" + len(new).to_bytes(2, "little") + new
            return content.replace(element, replaced, 1)
    raise AssertionError


def with_implicit(content: bytes, *tags: int) -> bytes:
    """An explicit file with some elements of its top level written as implicit ones."""
    opened = open_part10(content)
    parts = [content[: opened.elements[0].start]]
    for one in opened.elements:
        value = content[one.value : one.stop]
        if one.tag in tags:
            header = (one.tag >> 16).to_bytes(2, "little") + (one.tag & 0xFFFF).to_bytes(
                2, "little"
            )
            parts.append(header + len(value).to_bytes(4, "little") + value)
        else:
            parts.append(content[one.start : one.end])
    return b"".join(parts)


def check(content: bytes, tokens: dict[bytes, str], folder: Path, key: SiteKey) -> pydicom.Dataset:
    path = folder / "in.dcm"
    path.write_bytes(content)
    done = deidentify_files([path], folder, key=key, profile=load_profile("basic"))
    written = done.files[0].read_bytes()
    assert [place for token, place in tokens.items() if token in written] == []
    new = pydicom.dcmread(done.files[0])
    assert new.PixelData == PIXELS
    assert (new.Rows, new.SliceThickness, str(new.PatientName)) == (16, 1, done.pseudonym)
    return new


@pytest.mark.parametrize(
    "tags",
    [
        (0x00080060,),
        (0x00100010, 0x00100020),
        (0x00081140,),  # a sequence, of explicit elements
        (0x00290010, 0x00291001),  # private ones
        (0x7FE00010,),
    ],
)
def test_implicit_elements_inside_an_explicit_file_are_read_as_what_they_are(
    tags: tuple[int, ...], plant: Plant, tmp_path: Path, key: SiteKey
) -> None:
    content, tokens = plant(EXPLICIT)
    mixed = with_implicit(content, *tags)
    assert mixed != content
    new = check(mixed, tokens, tmp_path, key)
    assert new.file_meta.TransferSyntaxUID == EXPLICIT


@pytest.mark.parametrize(("said", "written"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT)])
def test_a_file_that_is_written_otherwise_than_it_says_becomes_an_explicit_one(
    said: str, written: str, plant: Plant, tmp_path: Path, key: SiteKey
) -> None:
    content, tokens = plant(written)
    new = check(set_syntax(content, said), tokens, tmp_path, key)
    assert new.file_meta.TransferSyntaxUID == EXPLICIT
    assert new.Modality == "MR"


def test_implicit_elements_inside_a_sequence_are_read_as_what_they_are(
    slice_file: Slice, tmp_path: Path, key: SiteKey
) -> None:
    inner = pydicom.Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3.4"
    inner.PatientName = "Doe^Jane"
    path = slice_file(ReferencedImageSequence=[inner])
    content = path.read_bytes()
    explicit = b"\x10\x00\x10\x00PN\x08\x00Doe^Jane"
    assert content.count(explicit) == 2
    at = content.index(explicit)
    path.write_bytes(
        content[:at] + b"\x10\x00\x10\x00\x08\x00\x00\x00Doe^Jane" + content[at + 16 :]
    )
    done = deidentify_files([path], tmp_path, key=key, profile=load_profile("basic"))
    (kept,) = pydicom.dcmread(done.files[0]).ReferencedImageSequence
    assert str(kept.ReferencedSOPInstanceUID).startswith("2.25.")
    assert b"Doe" not in done.files[0].read_bytes()


def test_files_that_repeat_a_mixed_one_get_the_output_that_they_get_alone(
    slice_file: Slice, tmp_path: Path, key: SiteKey
) -> None:
    profile = load_profile("basic")
    warm = Deidentifier.of(key, profile)
    for number, name in enumerate(("Doe^Jane", "Doe^Joan", "Doe^Jill", "Doe^Jean")):
        inner = pydicom.Dataset()
        inner.ReferencedSOPInstanceUID = f"1.2.3.{number}"
        inner.PatientName = name
        path = slice_file(
            ReferencedImageSequence=[inner], SOPInstanceUID=f"1.2.{number}", InstanceNumber=number
        )
        content = path.read_bytes()
        at = content.index(b"\x10\x00\x10\x00PN\x08\x00" + name.encode())
        value = name.encode()
        mixed = b"\x10\x00\x10\x00\x08\x00\x00\x00" + value
        path.write_bytes(content[:at] + mixed + content[at + 16 :])
        warm.write_new(path, tmp_path / f"warm{number}", durable=False)
        alone = Deidentifier.of(key, profile)
        alone.write_new(path, tmp_path / f"alone{number}", durable=False)
        written = (tmp_path / f"warm{number}").read_bytes()
        assert written == (tmp_path / f"alone{number}").read_bytes()
        assert b"Doe" not in written


def test_a_file_whose_samples_are_no_samples_is_written_without_them_or_left_out(
    slice_file: Slice, tmp_path: Path, key: SiteKey
) -> None:
    path = slice_file()
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00OW\0\0")
    for vr in (b"UN", b"UC", b"OD"):
        path.write_bytes(content[: at + 4] + vr + content[at + 6 :])
        work = Deidentifier.of(key, load_profile("basic"))
        for number in range(2):
            target = tmp_path / f"{vr.decode()}{number}"
            work.write_new(path, target, durable=False)
            assert "PixelData" not in pydicom.dcmread(target)


def test_a_deflated_file_with_an_implicit_element_is_taken(tmp_path: Path, key: SiteKey) -> None:
    import zlib  # noqa: PLC0415 - the one test that packs anything

    plain = with_implicit(as_bytes(mr_slice(EXPLICIT, number=1), EXPLICIT), 0x00080060)
    start = open_part10(as_bytes(mr_slice(EXPLICIT, number=1), EXPLICIT)).elements[0].start
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(plain[start:]) + packer.flush()
    new = check(set_syntax(plain[:start], DEFLATED) + packed, {}, tmp_path, key)
    assert new.file_meta.TransferSyntaxUID == DEFLATED


def test_a_real_file_of_that_kind_is_taken(tmp_path: Path, key: SiteKey) -> None:
    path = get_testdata_file("SC_rgb_jpeg.dcm")
    assert isinstance(path, str)
    with pytest.raises(QuarantinedError) as left_out:
        deidentify_files([Path(path)], tmp_path, key=key, profile=load_profile("basic"))
    assert left_out.value.reason is Reason.BURNED_IN  # a secondary capture that says nothing of it
    data_set = pydicom.dcmread(path)
    opened = open_part10(Path(path).read_bytes())
    assert [one.tag for one in opened.elements] == [int(tag) for tag in data_set.keys()]  # noqa: SIM118 - iterating decodes


@settings(max_examples=150)
@given(st.data())
def test_a_spoiled_file_is_refused_or_read_alike_by_both_readers(data: st.DataObject) -> None:
    content = bytearray(with_implicit(as_bytes(mr_slice(EXPLICIT, number=1), EXPLICIT), 0x00080060))
    start = content.index(b"\x08\x00\x05\x00CS")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(start, len(content) - 600))
        content[at] = data.draw(st.integers(0, 255))
    try:
        written = as_explicit(bytes(content), start, implicit=False)
    except QuarantinedError:
        return
    elements, stop = read_elements(written, 0, len(written), EXPLICIT_LITTLE)
    assert stop == len(written)
    assert elements
