"""Planted identifiers: a token in every place that has room for one, none in the output."""

from __future__ import annotations

import io
import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest

from reidscope_deid import (
    QuarantinedError,
    SiteKey,
    audit_output,
    deidentify_files,
    deidentify_tree,
)
from reidscope_deid.identifiers import inflated_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from reidscope_deid import Profile

SYNTAXES = {
    "explicit little endian": "1.2.840.10008.1.2.1",
    "implicit little endian": "1.2.840.10008.1.2",
    "explicit big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of the tokens planted


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
def test_no_planted_identifier_is_anywhere_in_the_bytes_of_the_output(
    syntax: str,
    plant: Callable[[str], tuple[bytes, dict[bytes, str]]],
    tmp_path: Path,
    key: SiteKey,
    profile: Profile,
) -> None:
    content, tokens = plant(syntax)
    (tmp_path / "in.dcm").write_bytes(content)
    done = deidentify_files([tmp_path / "in.dcm"], tmp_path, key=key, profile=profile)
    output = inflated_content(done.files[0], pydicom.dcmread(done.files[0]))
    assert len(tokens) > 100
    assert [place for token, place in tokens.items() if token in output] == []
    # The tokens were there to be found: the scan itself can fail.
    original = inflated_content(tmp_path / "in.dcm", pydicom.dcmread(tmp_path / "in.dcm"))
    assert [place for token, place in tokens.items() if token not in original] == []
    assert audit_output(done.files, [tmp_path / "in.dcm"]).clean


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
def test_no_planted_identifier_is_in_a_path_an_error_a_record_or_a_log(  # noqa: PLR0917 - fixtures
    syntax: str,
    plant: Callable[[str], tuple[bytes, dict[bytes, str]]],
    tmp_path: Path,
    key: SiteKey,
    profile: Profile,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    content, tokens = plant(syntax)
    caplog.clear()  # of what pydicom says while it writes tokens into dates
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "ZQ000XJTK.dcm").write_bytes(content)
    said = [str(deidentify_tree(source, out, key=key, profile=profile).document())]
    said += [str(path.relative_to(out)) for path in out.rglob("*")]
    meta_end = content.find(b"\x08\x00") if syntax != SYNTAXES["explicit big endian"] else 400
    for cut in range(meta_end, len(content), 97):
        broken = tmp_path / "broken.dcm"
        broken.write_bytes(content[:cut])
        try:
            done = deidentify_files([broken], tmp_path, key=key, profile=profile)
            done.files[0].unlink()
        except QuarantinedError as error:
            said.append(repr(error) + str(error) + str(error.__cause__))
    said += [record.getMessage() for record in caplog.records]
    said += list(capfd.readouterr())
    assert [place for token, place in tokens.items() if token.decode() in "".join(said)] == []


def test_a_deflated_output_is_a_whole_stream_of_its_own(
    plant: Callable[[str], tuple[bytes, dict[bytes, str]]],
    tmp_path: Path,
    key: SiteKey,
    profile: Profile,
) -> None:
    (tmp_path / "in.dcm").write_bytes(plant(SYNTAXES["deflated"])[0])
    done = deidentify_files([tmp_path / "in.dcm"], tmp_path, key=key, profile=profile)
    data_set = pydicom.dcmread(done.files[0])
    start = 144 + data_set.file_meta.FileMetaInformationGroupLength
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(done.files[0].read_bytes()[start:])
    assert inflater.eof
    assert inflater.unused_data in (b"", b"\0")


def test_what_is_hidden_in_the_reserved_bytes_of_a_header_is_not_copied(
    slice_file: Callable[..., Path], tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = slice_file()
    content = path.read_bytes()
    header = b"\xe0\x7f\x10\x00OW"
    assert content.count(header) == 1
    path.write_bytes(content.replace(header + b"\0\0", header + b"Zq"))
    done = deidentify_files([path], tmp_path, key=key, profile=profile)
    assert header + b"\0\0" in done.files[0].read_bytes()
    assert b"Zq" not in done.files[0].read_bytes()


def test_zeros_behind_the_last_element_are_dropped_and_anything_else_refuses_the_file(
    slice_file: Callable[..., Path], tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = slice_file()
    content = path.read_bytes()
    plain = deidentify_files([path], tmp_path, key=key, profile=profile).files[0].read_bytes()
    path.write_bytes(content + bytes(64))
    assert (
        deidentify_files([path], tmp_path, key=key, profile=profile).files[0].read_bytes() == plain
    )
    path.write_bytes(content + b"Doe^Jane was here")
    with pytest.raises(QuarantinedError):
        deidentify_files([path], tmp_path, key=key, profile=profile)


def test_an_element_that_stands_twice_refuses_the_file(
    slice_file: Callable[..., Path], tmp_path: Path, key: SiteKey, profile: Profile
) -> None:
    path = slice_file()
    content = path.read_bytes()
    again = b"\x08\x00\x60\x00CS\x02\x00MR"
    assert content.count(again) == 1
    path.write_bytes(content.replace(again, again + again))
    with pytest.raises(QuarantinedError, match="repeated-element"):
        deidentify_files([path], tmp_path, key=key, profile=profile)


def test_the_output_says_what_was_done_and_no_more(
    slice_file: Callable[..., Path], tmp_path: Path, key: SiteKey
) -> None:
    from reidscope_deid import load_profile  # noqa: PLC0415 - the one test that compares profiles

    path = slice_file()
    expected = {
        "basic": (["113100", "113107"], "MODIFIED"),
        "basic-undated": (["113100"], "REMOVED"),
    }
    for name, (codes, dates) in expected.items():
        (tmp_path / name).mkdir()
        done = deidentify_files([path], tmp_path / name, key=key, profile=load_profile(name))
        data_set = pydicom.dcmread(io.BytesIO(done.files[0].read_bytes()))
        assert data_set.PatientIdentityRemoved == "YES"
        declared = data_set.DeidentificationMethodCodeSequence
        assert [code.CodeValue for code in declared] == codes
        assert data_set.LongitudinalTemporalInformationModified == dates
        assert data_set.StudyDate == ("" if name == "basic-undated" else data_set.SeriesDate)
        assert data_set.StudyDate != "20200317"
        assert audit_output(done.files, [path], profile=load_profile(name)).clean
