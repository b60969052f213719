"""Pseudonyms, UIDs and the key they are drawn from."""

from __future__ import annotations

import copy
import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid import QuarantinedError, SiteKey, generate_key, load_key, pseudonym
from reidscope_deid.uids import REGISTERED, UidMap
from reidscope_protocols.errors import ConfigError

UIDS = st.from_regex(r"1\.2\.[1-9][0-9]{0,8}(\.[1-9][0-9]{0,5}){1,4}", fullmatch=True)


@given(st.sets(UIDS, min_size=2, max_size=30))
def test_different_uids_stay_different_and_each_is_a_valid_uid(uids: set[str]) -> None:
    new = UidMap(SiteKey(b"k" * 32))
    mapped = [new(uid.encode()) for uid in uids]
    assert len(set(mapped)) == len(uids)
    for uid in mapped:
        assert len(uid) <= 64
        assert uid.startswith(b"2.25.")
        assert not uid.startswith(b"2.25.0")


@given(UIDS)
def test_a_uid_maps_alike_padded_or_not_in_every_map_of_the_key_and_otherwise_under_another(
    uid: str,
) -> None:
    raw = uid.encode()
    expected = UidMap(SiteKey(b"k" * 32))(raw)
    assert UidMap(SiteKey(b"k" * 32))(raw + b"\0") == expected
    assert UidMap(SiteKey(b"l" * 32))(raw) != expected


def test_uids_that_the_standard_registers_stay_and_made_up_ones_under_its_root_do_not() -> None:
    new = UidMap(SiteKey(b"k" * 32))
    assert all(new(uid) == uid for uid in REGISTERED)
    assert new(b"1.2.840.10008.424242") != b"1.2.840.10008.424242"
    assert new(b"1.2.3\\1.2.4").split(b"\\") == [new(b"1.2.3"), new(b"1.2.4")]
    assert new(b"") == b""


def test_a_pseudonym_is_the_same_on_every_run_and_unrelated_under_another_key() -> None:
    # A known answer: a change would cut every site off from what it released before.
    assert pseudonym(SiteKey(bytes(32)), "MRN-0042") == "P-JYZPBKB5VQXMXIRH"
    assert pseudonym(SiteKey(b"l" * 32), "MRN-0042") != "P-JYZPBKB5VQXMXIRH"


@given(st.sets(st.text("0123456789-ABC", min_size=1), min_size=2, max_size=30))
def test_people_do_not_share_a_pseudonym(patient_ids: set[str]) -> None:
    key = SiteKey(b"k" * 32)
    assert len({pseudonym(key, one) for one in patient_ids}) == len(patient_ids)


def test_padding_and_the_form_of_an_accent_do_not_make_another_person() -> None:
    key = SiteKey(b"k" * 32)
    assert pseudonym(key, " Z\u00fcrich-1 ") == pseudonym(key, "Zu\u0308rich-1")


def test_nobody_is_not_a_person() -> None:
    for nobody in ("", "  ", "\0"):
        with pytest.raises(QuarantinedError, match="no-identity"):
            pseudonym(SiteKey(b"k" * 32), nobody)


def test_a_key_is_never_shown_pickled_or_copied() -> None:
    key = SiteKey(b"secret-secret-secret-secret-3210")
    assert "secret" not in repr(key) + str(key) + f"{key}"
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            way(key)


def test_branches_of_a_key_differ_by_name_and_by_key() -> None:
    branches = {
        SiteKey(secret * 32).branch(name) for secret in (b"a", b"b") for name in (b"x/v1", b"y/v1")
    }
    assert len(branches) == 4
    assert all(len(branch) == 32 for branch in branches)
    assert SiteKey(b"a" * 32) == SiteKey(b"a" * 32) != SiteKey(b"b" * 32)


def test_a_key_file_is_owner_only_is_read_back_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    key = generate_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path) == key
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        generate_key(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "site.key"
    generate_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="0600"):
        load_key(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"00" * 32,
        b"reidscope-site-key v1\n" + b"0" * 62 + b"\n",
        b"reidscope-site-key v1\n" + b"0" * 66 + b"\n",
        b"reidscope-site-key v2\n" + b"0" * 64 + b"\n",
        b"reidscope-site-key v1\n" + b"0" * 64 + b"\n" + b"x",
        bytes(4096),
    ],
)
def test_a_file_that_is_no_key_is_refused_without_showing_it(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        load_key(path)
    assert "000000" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_a_missing_key_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError):
            load_key(path)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigError):
        SiteKey(b"short")
