"""The way back, and the keys of studies."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_deid import SiteKey, deidentify_tree, generate_key, load_profile, pseudonym
from reidscope_deid.pseudonyms import Namer
from reidscope_deid.vault import Vault
from reidscope_protocols.errors import ConfigError, InputError

Slice = Callable[..., Path]
KEY = SiteKey(b"k" * 32)


def test_a_vault_gives_the_patient_back_to_who_holds_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    name = pseudonym(KEY, "MRN-0042")
    Vault(path, KEY).add({name: "MRN-0042"})
    Vault(path, KEY).add({"P-OTHER": "Z\u00fcrich-1"})
    assert Vault(path, KEY).find(name) == "MRN-0042"
    assert Vault(path, KEY).find("P-OTHER") == "Z\u00fcrich-1"
    content = path.read_bytes()
    assert b"MRN" not in content
    assert name.encode() not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="does not open"):
        Vault(path, SiteKey(b"l" * 32)).find(name)
    with pytest.raises(InputError, match="does not hold"):
        Vault(path, KEY).find("P-NOBODY")


def test_a_vault_is_sealed_anew_each_time(tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        Vault(tmp_path / str(number), KEY).add({"P-A": "1"})
        contents.append((tmp_path / str(number)).read_bytes()[19:])
    assert contents[0][:12] != contents[1][:12]
    assert contents[0][12:] != contents[1][12:]


@pytest.mark.parametrize("place", [0, 20, 35, -1])
def test_a_vault_with_a_byte_changed_or_cut_off_is_refused_and_left_as_it_is(
    tmp_path: Path, place: int
) -> None:
    path = tmp_path / "vault"
    Vault(path, KEY).add({"P-A": "MRN-0042"})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    for content in (bytes(damaged), whole[:-1], whole[:25]):
        path.write_bytes(content)
        for use in (lambda: Vault(path, KEY).find("P-A"), lambda: Vault(path, KEY).add({})):
            with pytest.raises(ConfigError) as refused:
                use()
            assert "MRN" not in str(refused.value)
            assert str(tmp_path) not in str(refused.value)
        assert path.read_bytes() == content


def test_a_vault_that_others_can_read_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault"
    with pytest.raises(ConfigError):
        Vault(path, KEY).find("P-A")
    Vault(path, KEY).add({"P-A": "1"})
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        Vault(path, KEY).find("P-A")


def test_a_run_tells_everybody_it_met_and_people_without_an_id_by_their_study(
    slice_file: Slice, tmp_path: Path
) -> None:
    slice_file("in/a.dcm")
    slice_file("in/b.dcm", PatientID="MRN-0043", SOPInstanceUID="1.2.3.4")
    slice_file("in/c.dcm", PatientID="", SOPInstanceUID="1.2.3.5")
    met: dict[str, str] = {}
    out = tmp_path / "out"
    rules = load_profile("basic")
    deidentify_tree(tmp_path / "in", out, key=KEY, profile=rules, met=met.__setitem__, jobs=2)
    assert sorted(met.values()) == ["1.2.826.0.1.3680043.8.498.7.1", "MRN-0042", "MRN-0043"]
    assert met[pseudonym(KEY, "MRN-0042")] == "MRN-0042"
    assert set(met) == {path.name for path in out.iterdir()}


def test_the_command_line_goes_there_and_back(
    slice_file: Slice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from reidscope_deid import cli  # noqa: PLC0415 - the one test that needs it

    slice_file("in/a.dcm")
    key = generate_key(tmp_path / "k")
    vault = ["--vault", str(tmp_path / "v"), "--key", str(tmp_path / "k")]

    def command(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["reidscope-deid", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    for study in ("trial-1", "trial-2"):
        run = ["run", str(tmp_path / "in"), str(tmp_path / study), "--study", study]
        said = command(*run, *vault)
        assert "MRN" not in said
        assert {path.name for path in (tmp_path / study).iterdir()} == {
            pseudonym(key.for_study(study), "MRN-0042")
        }
        name = pseudonym(key.for_study(study), "MRN-0042")
        assert command("reidentify", name, *vault).strip() == "MRN-0042"


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_studies_share_no_pseudonym_and_each_has_one_key(first: str, second: str) -> None:
    names = [pseudonym(KEY.for_study(study), "MRN-0042") for study in (first, second)]
    assert (names[0] == names[1]) == (first == second)
    assert pseudonym(KEY, "MRN-0042") not in names
    assert KEY.for_study(first) == KEY.for_study(first)


@given(st.text(min_size=1).filter(lambda one: one.strip(" \0\t\r\n")))
def test_a_person_moved_by_whole_weeks_is_moved_by_one_to_ten_years(patient_id: str) -> None:
    shift = Namer.of(KEY, whole_weeks=True).patient(patient_id).shift_days
    assert shift % 7 == 0
    assert -3652 <= shift <= -365


def test_a_study_without_a_name_has_no_key() -> None:
    with pytest.raises(ConfigError):
        KEY.for_study(" ")
