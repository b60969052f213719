"""The coordinator's own keys and roots follow one another, and what was signed before holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.server.conftest import SiteParty, csr_of

from reidscope_protocols.enrolment import Invitation, certificate_sha256
from reidscope_protocols.envelope import Opened, open_envelope, peek_payload, sign
from reidscope_protocols.errors import BadSignatureError, InputError, StatementError
from reidscope_protocols.key_change import KeyChange, RootChange, open_change
from reidscope_protocols.keys import KeyRing, StatementKey
from reidscope_protocols.statements import WORLD, Receipt
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.own_keys import believed_keys, changes, own_keys, rotate_own
from reidscope_server.roots import end_overlap, is_trusted, overlap, rotate_root, trusted_pem


def test_a_study_that_was_signed_before_is_read_and_the_next_is_signed_by_the_new_key(
    coordinator: Coordinator, server_home: ServerHome, open_study: Callable[..., Opened[Study]]
) -> None:
    first = open_study()
    rotate_own(server_home, KeyRole.STUDY)
    second = open_study(study_id="faces-2")
    assert first.signer.public != second.signer.public
    assert [study.sha256 for study in coordinator.studies.every()] == [first.sha256, second.sha256]
    old, new, other = own_keys(server_home)
    assert (old.public, new.public) == (first.signer.public, second.signer.public)
    assert other.role is KeyRole.COORDINATOR
    assert timedelta(days=29) < old.not_after - datetime.now(UTC) < timedelta(days=31)


def test_receipts_of_both_coordinator_keys_are_read(
    coordinator: Coordinator, server_home: ServerHome, approved: Opened[Study], north: SiteParty
) -> None:
    coordinator.studies.take_release(north.release(approved), "north")
    rotate_own(server_home, KeyRole.COORDINATOR)
    (head,) = coordinator.studies.heads(["north"])
    assert head.site == "north"
    (receipt,) = coordinator.studies.receipts_for("north")
    ring = KeyRing(own_keys(server_home))
    open_envelope(receipt, Receipt, ring, role=KeyRole.COORDINATOR)


def test_a_stolen_study_key_opens_no_study_from_then_on(
    server_home: ServerHome, coordinator: Coordinator, make_study: Callable[..., Study]
) -> None:
    stolen = StatementKey.load(server_home.key("study.pem"))
    rotate_own(server_home, KeyRole.STUDY, at_once=True)
    with pytest.raises(BadSignatureError):
        coordinator.studies.open(sign(make_study(), stolen), {})
    assert stolen.public not in {record.public for record in believed_keys(server_home)}
    assert stolen.public in {record.public for record in own_keys(server_home)}


def test_an_invitation_pins_the_keys_that_are_believed(
    server_home: ServerHome, coordinator: Coordinator
) -> None:
    for _ in range(3):
        rotate_own(server_home, KeyRole.COORDINATOR)
    invitation = Invitation.parse(coordinator.sites.invite("west").dump())
    assert {record.public for record in invitation.keys} == {
        record.public for record in own_keys(server_home)
    }


@pytest.mark.parametrize("role", [KeyRole.STUDY, KeyRole.COORDINATOR])
def test_a_process_that_dies_between_the_change_and_the_key_goes_on(
    server_home: ServerHome, role: KeyRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server_home.key(f"{role}.pem")
    before = StatementKey.load(file).public
    with monkeypatch.context() as patched:
        patched.setattr("reidscope_server.own_keys._settle", lambda *_: None)
        change = KeyChange.parse(peek_payload(rotate_own(server_home, role)))
    assert StatementKey.load(file).public == before
    assert own_keys(server_home)[-1 if role is KeyRole.COORDINATOR else 1].public == change.new_key
    assert StatementKey.load(file).public == change.new_key
    assert not server_home.key(f"{role}.next.pem").exists()


def test_a_next_key_that_nobody_was_told_of_is_drawn_anew(server_home: ServerHome) -> None:
    StatementKey.generate().save(server_home.key("study.next.pem"))
    before = StatementKey.load(server_home.key("study.pem")).public
    assert own_keys(server_home)[0].public == before
    opened = open_change(
        rotate_own(server_home, KeyRole.STUDY),
        KeyRing(own_keys(server_home)),
        role=KeyRole.STUDY,
        reader=WORLD,
        now=datetime.now(UTC),
    )
    assert opened.said.old_key == before


def test_a_site_has_no_key_at_the_coordinator(server_home: ServerHome) -> None:
    with pytest.raises(InputError):
        rotate_own(server_home, KeyRole.SITE)


def test_two_roots_hold_for_a_window_and_then_the_new_one_alone(
    server_home: ServerHome, coordinator: Coordinator, north: SiteParty
) -> None:
    before = own_keys(server_home)
    old = certificate_sha256(server_home.key("ca.crt").read_text())
    both = rotate_root(server_home, days=1)
    assert both.old_sha256 == old
    assert trusted_pem(server_home).count(b"BEGIN CERTIFICATE") == 2
    change = RootChange.parse(peek_payload(changes(server_home)[-1]))
    assert certificate_sha256(change.new_ca_pem) == both.new_sha256
    with pytest.raises(InputError, match="overlap already"):
        rotate_root(server_home)
    # enrolment goes on with the old root, whose certificate the doors show
    west = SiteParty("west").enrol(coordinator)
    assert coordinator.sites.invite("east").ca_sha256 == old
    assert not end_overlap(server_home, now=both.ends - timedelta(seconds=1))
    assert end_overlap(server_home, now=both.ends)
    assert overlap(server_home) is None
    assert trusted_pem(server_home).count(b"BEGIN CERTIFICATE") == 1
    assert coordinator.sites.invite("east").ca_sha256 == both.new_sha256
    for party in (north, west):
        sha256 = certificate_sha256(party.certificate_pem)
        assert coordinator.sites.by_certificate(sha256) is None
    assert "north" not in {name for name, *_ in coordinator.sites.at_the_doors()}
    # keys are as old as they were
    assert own_keys(server_home)[0].not_before == before[0].not_before


def test_a_certificate_of_the_new_root_outlives_the_old_one(
    server_home: ServerHome, coordinator: Coordinator, north: SiteParty
) -> None:
    from tests.server.test_site_keys import certificate_in, renewal  # noqa: PLC0415  # one use

    both = rotate_root(server_home)
    grant = coordinator.sites.keys.renew(
        renewal(coordinator, north, ca_sha256=both.new_sha256), "north"
    )
    assert coordinator.sites.every()[0].root == both.new_sha256
    end_overlap(server_home)
    sha256 = certificate_sha256(certificate_in(grant))
    assert coordinator.sites.by_certificate(sha256) == "north"
    assert not is_trusted(server_home, both.old_sha256)
    assert not is_trusted(server_home, None)


@pytest.mark.parametrize("dies_at", range(5))
def test_an_end_that_dies_at_any_write_is_ended_by_the_next_process(
    server_home: ServerHome, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reidscope_protocols.durable import write_durably  # noqa: PLC0415  # the real one

    both = rotate_root(server_home)
    written: list[Any] = []

    def dying(path: Any, content: bytes, **more: Any) -> None:
        if len(written) == dies_at:
            raise OSError
        written.append(path)
        write_durably(path, content, **more)

    with monkeypatch.context() as patched:
        patched.setattr("reidscope_server.roots.write_durably", dying)
        patched.setattr("reidscope_server.ca.write_durably", dying)
        try:
            end_overlap(server_home)
        except OSError:
            assert overlap(server_home) is not None
    end_overlap(server_home)
    assert overlap(server_home) is None
    assert certificate_sha256(server_home.key("ca.crt").read_text()) == both.new_sha256
    assert not is_trusted(server_home, both.old_sha256)
    assert is_trusted(server_home, both.new_sha256)
    with Coordinator.opened(server_home) as coordinator:
        SiteParty("west").enrol(coordinator)


@pytest.mark.parametrize("days", [-1, 400])
def test_a_window_that_makes_no_sense_is_refused(server_home: ServerHome, days: int) -> None:
    with pytest.raises(InputError):
        rotate_root(server_home, days=days)
    assert overlap(server_home) is None


def test_a_request_for_a_root_that_ended_is_refused(
    server_home: ServerHome, coordinator: Coordinator, party: Callable[..., SiteParty]
) -> None:
    invitation = coordinator.sites.invite("west")
    rotate_root(server_home)
    end_overlap(server_home)
    site = party("west")
    with pytest.raises(StatementError, match="another CA"):
        coordinator.sites.enrol(
            site.request(invitation, csr=csr_of(site.transport, "west")), invitation.token
        )


def test_sites_without_a_network_get_the_changes_as_files_that_sort_before_the_study(
    server_home: ServerHome, coordinator: Coordinator, open_study: Callable[..., Opened[Study]]
) -> None:
    rotate_own(server_home, KeyRole.STUDY)
    rotate_root(server_home)
    study = open_study()
    files = coordinator.portable(study.sha256)
    names = sorted(files)
    assert names[:2] == ["0-change-1.dsse.json", "0-change-2.dsse.json"]
    assert [files[name] for name in names[:2]] == list(changes(server_home))
