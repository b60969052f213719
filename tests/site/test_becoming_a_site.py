"""A home, its keys, and what enrolment pins."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.enrolment import EnrolmentRequest, Invitation
from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.errors import (
    BadSignatureError,
    ConfigError,
    MalformedError,
    NotEnrolledError,
    ReidscopeError,
    WrongAudienceError,
)
from reidscope_site import enrol
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.pinned import PinnedCoordinator


@pytest.fixture
def invitation(coordinator: Any) -> dict[str, Any]:
    pinned = json.loads(coordinator.pinned.model_dump_json())
    return {
        "schema": "reidscope.invitation/1.0",
        **{name: pinned[name] for name in Invitation.model_fields if name in pinned},
        "token": "A" * 22,
        "not_after": "2030-01-01T00:00:00Z",
    }


def parsed(said: dict[str, Any]) -> Invitation:
    return Invitation.parse(json.dumps(said).encode())


def test_keys_are_three_owner_only_and_never_overwritten(home: Home) -> None:
    for name in ("site.key", "statement.pem", "transport.pem"):
        assert stat.S_IMODE(home.key(name).stat().st_mode) == 0o600
    before = home.key("statement.pem").read_bytes()
    with pytest.raises(ConfigError):
        enrol.make_keys(home)
    assert home.key("statement.pem").read_bytes() == before


def test_a_home_is_never_made_over_another(home: Home) -> None:
    with pytest.raises(ConfigError):
        write_new_home(home, home.config(), home.policy())


def test_a_home_survives_its_own_files(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    config = SiteConfig(
        name="north",
        dicom='/data/"a" \\b/\u00e9/\U0001f9e0',
        photos="p",
        links="l",
        dicomweb="https://pacs.example/dicom-web",
        dicomweb_query=("StudyDate=2020-", 'A="b"'),
    )
    policy = Policy(declared_people=7, roles=("Datenschutz \u2014 \U00020000",))
    write_new_home(home, config, policy)
    assert (home.config(), home.policy()) == (config, policy)
    assert home.policy().sha256 == policy.sha256


@pytest.mark.parametrize(
    "text",
    [
        "declared_people = 0",
        "declared_people = 20.5",
        'declared_people = "20"',
        "declared_people = 20\nepsilon_per_study = 2",
        'declared_people = 20\nepsilon_per_study = "-2"',
        'declared_people = 20\nepsilon_per_study = "1e3"',
        "declared_people = 20\nunknown = 1",
        "declared_people = 2020-01-01",
        "declared_people = [",
        "\udcff",
        "",
    ],
)
def test_a_policy_that_does_not_say_what_it_must_is_refused(home: Home, text: str) -> None:
    home.policy_file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        home.policy()
    assert str(caught.value).isprintable()


def test_without_enrolment_there_is_no_coordinator(home: Home) -> None:
    home.coordinator_file.unlink()
    with pytest.raises(NotEnrolledError):
        PinnedCoordinator.load(home.coordinator_file)
    home.coordinator_file.write_text("{}")
    with pytest.raises(ConfigError):
        PinnedCoordinator.load(home.coordinator_file)


def test_a_request_proves_both_keys_and_names_the_ca_that_it_was_shown(
    home: Home, invitation: dict[str, Any]
) -> None:
    said = EnrolmentRequest.parse(peek_payload(enrol.request(home, parsed(invitation))))
    assert said.site == "north"
    assert said.ca_sha256 == invitation["ca_sha256"]
    assert "CERTIFICATE REQUEST" in said.csr_pem


def test_another_sites_invitation_is_not_used(home: Home, invitation: dict[str, Any]) -> None:
    with pytest.raises(WrongAudienceError):
        enrol.request(home, parsed({**invitation, "site": "south"}))


@pytest.mark.parametrize(
    "change",
    [
        {"ca_sha256": "00" * 32},
        {"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 2},
        {"token": "short"},
        {"token": "!" * 22},
        {"site": "North"},
        {"keys": []},
        {"note": "hello"},
        {"addresses": {"enrolment": "a:1", "control": "b:2", "fleet": "no port"}},
        {"schema": "reidscope.invitation/2.0"},
    ],
)
def test_an_altered_invitation_is_refused(
    invitation: dict[str, Any], change: dict[str, Any]
) -> None:
    assert parsed(invitation).site == "north"
    with pytest.raises(MalformedError):
        parsed({**invitation, **change})


@pytest.mark.parametrize("grant", [b"", b"{}", b'{"payload": ""}'])
def test_a_grant_that_is_none_pins_nothing(
    home: Home, invitation: dict[str, Any], grant: bytes
) -> None:
    home.coordinator_file.unlink()
    with pytest.raises(ReidscopeError):
        enrol.install(home, parsed(invitation), grant)
    assert not home.coordinator_file.exists()
    assert not home.key("transport.crt").exists()


def test_a_grant_signed_by_the_site_itself_is_refused(
    home: Home, invitation: dict[str, Any]
) -> None:
    with pytest.raises((BadSignatureError, MalformedError)):
        enrol.install(home, parsed(invitation), enrol.request(home, parsed(invitation)))
