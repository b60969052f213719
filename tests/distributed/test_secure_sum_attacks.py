"""What a malicious coordinator, and a malicious site, try on a secure sum; what stops them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.distributed.federation import Federation

from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.envelope import Opened, peek_payload, sign, sign_payload
from reidscope_protocols.errors import (
    BadSignatureError,
    MalformedError,
    NotReadyError,
    StatementError,
    WrongAudienceError,
)
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.secure_sum import (
    MaskedRelease,
    MaskedTable,
    SumKeys,
    SumRound,
    participants,
    unmasked_sum,
    words,
)
from reidscope_protocols.statements import LedgerHead
from reidscope_protocols.study import Study
from reidscope_protocols.wire import RELEASE_FRAME, pad
from reidscope_server.summed import add_up
from reidscope_site import package
from reidscope_site.taking_part import take_round

Fields = dict[str, Any]


def round_of(
    federation: Federation, study: Opened[Study], keys: list[bytes], **changes: Any
) -> bytes:
    """Sign a list with the coordinator's true key, whatever it holds."""
    now = datetime.now(UTC)
    fields: Fields = {
        "audience": study.statement.audience,
        "issued_at": now,
        "not_after": now + timedelta(days=1),
        "study_sha256": study.sha256,
        "attempt": 1,
        "phase": "sum",
        "keys": tuple(key.decode() for key in keys),
    }
    return sign(SumRound(**{**fields, **changes}), federation.operator.own_key)


def given_keys(federation: Federation, study: Opened[Study]) -> dict[str, bytes]:
    federation.give_keys(study)
    return {name: s.answer(study.sha256)[1:] for name, s in federation.sites.items()}


def forged(
    study: Opened[Study], site: str, key: StatementKey, **changes: Any
) -> tuple[bytes, X25519PrivateKey]:
    """Keys in a site's name whose private half the adversary holds."""
    private = X25519PrivateKey.generate()
    fields: Fields = {
        "audience": ("world",),
        "issued_at": study.statement.opens_at,
        "not_after": study.statement.not_after,
        "study_sha256": study.sha256,
        "site": site,
        "attempt": 1,
        "x25519": private.public_key().public_bytes_raw().hex(),
    }
    return sign(SumKeys(**{**fields, **changes}), key), private


def nothing_spent(federation: Federation) -> bool:
    return not any(list(site.agent.ledger.entries()) for site in federation.sites.values())


def test_a_coordinator_that_swaps_a_sites_key_is_refused_before_a_charge(
    federation: Federation,
) -> None:
    study = federation.approved()
    keys = given_keys(federation, study)
    for key in (federation.operator.own_key, StatementKey.generate()):
        own, _ = forged(study, "charlie", key)
        bent = round_of(federation, study, [keys["alpha"], keys["bravo"], own])
        with pytest.raises(BadSignatureError):
            take_round(federation.sites["alpha"].agent, bent)
    assert nothing_spent(federation)
    assert federation.sites["alpha"].answer(study.sha256) == b"K" + keys["alpha"]


def test_a_coordinator_that_drops_a_site_and_asks_the_rest_again_is_refused(
    federation: Federation,
) -> None:
    """The same shares under another list would give the dropped site's share away."""
    study = federation.approved(minimum_sites=2)
    keys = given_keys(federation, study)
    whole = round_of(federation, study, list(keys.values()))
    fewer = round_of(federation, study, [keys["alpha"], keys["bravo"]])
    for name in ("alpha", "bravo"):
        site = federation.sites[name]
        assert take_round(site.agent, whole)
        site.measure(study)
        first = site.answer(study.sha256)
        with pytest.raises(MalformedError, match="second list"):
            take_round(site.agent, fewer)
        assert not site.agent.ready_to_run()
        site.measure(study)
        assert site.answer(study.sha256) == first
        assert [e.kind for e in site.agent.ledger.entries()] == ["charged", "stored"]


def test_two_lists_shown_to_two_sites_do_not_decode(federation: Federation) -> None:
    study = federation.approved(minimum_sites=2)
    keys = given_keys(federation, study)
    lists = {
        "alpha": list(keys.values()),
        "bravo": [keys["alpha"], keys["bravo"]],
    }
    sent = {}
    for name, shown in lists.items():
        site = federation.sites[name]
        assert take_round(site.agent, round_of(federation, study, shown))
        envelope = site.measure(study)
        assert envelope is not None
        sent[name] = MaskedRelease.parse(peek_payload(envelope))
    assert sent["alpha"].round_sha256 != sent["bravo"].round_sha256
    for place in range(len(study.statement.tables)):
        sums = unmasked_sum(said.tables[place].cells() for said in sent.values())
        assert max(map(abs, sums)) > 1 << 40


def test_a_coordinator_with_the_masks_of_one_tolerated_colluder_still_sees_a_sum(
    federation: Federation,
) -> None:
    """Charlie tells all it holds: what is left of alpha and bravo is their masked sum alone."""
    study = federation.approved(federation.noise(colluders=1))
    keys = given_keys(federation, study)
    for site in federation.sites.values():
        assert take_round(site.agent, round_of(federation, study, list(keys.values())))
    charlie = federation.sites["charlie"].agent
    of = charlie.sums.listed(study)
    from reidscope_site.masks import masks  # noqa: PLC0415  # what the colluder would compute

    private = charlie.sums.private_key(study.sha256, 1, charlie.site_key)
    sizes = [(t.table, len(t.cells)) for t in study.statement.tables]
    of_charlie = masks(private, "charlie", of, sizes)
    said = {}
    for name in ("alpha", "bravo"):
        envelope = federation.sites[name].measure(study)
        assert envelope is not None
        said[name] = MaskedRelease.parse(peek_payload(envelope))
    for place, (_, cells) in enumerate(sizes):
        tables = [said[name].tables[place].cells() for name in said]
        both = unmasked_sum([*tables, of_charlie[place]])
        assert max(map(abs, both)) < 200  # the sum of two, noise shares included: decodes
        for one in tables:
            alone = unmasked_sum([one, of_charlie[place]])
            assert max(map(abs, alone)) > 1 << 40 or cells < 3


def test_a_list_that_does_not_hold_is_refused_whole(federation: Federation) -> None:
    study = federation.approved()
    keys = given_keys(federation, study)
    alpha, bravo, charlie = keys.values()
    for bent, refusal in (
        ([alpha, alpha, bravo, charlie], "twice"),
        ([alpha, bravo], "2 sites"),
        ([alpha], "1 sites"),
        ([alpha, b"{}", bravo], "envelope"),
    ):
        with pytest.raises(StatementError, match=refusal):
            take_round(federation.sites["alpha"].agent, round_of(federation, study, bent))
    assert nothing_spent(federation)


def test_keys_of_another_attempt_or_study_are_no_keys_of_this_one(federation: Federation) -> None:
    study = federation.approved(federation.noise(attempts=2))
    keys = given_keys(federation, study)
    charlie = federation.sites["charlie"].agent.statement_key
    for changes in ({"attempt": 2}, {"study_sha256": "ab" * 32}):
        bent, _ = forged(study, "charlie", charlie, **changes)
        listed = [keys["alpha"], keys["bravo"], bent]
        with pytest.raises(WrongAudienceError):
            take_round(federation.sites["alpha"].agent, round_of(federation, study, listed))
    assert nothing_spent(federation)


def test_a_replayed_list_of_a_failed_attempt_is_answered_by_nobody(
    federation: Federation,
) -> None:
    study = federation.approved(federation.noise(attempts=2))
    keys = given_keys(federation, study)
    first = round_of(federation, study, list(keys.values()))
    alpha = federation.sites["alpha"]
    assert take_round(alpha.agent, first)
    alpha.measure(study)
    again = round_of(federation, study, [], attempt=2, phase="keys")
    assert take_round(alpha.agent, again)
    assert not take_round(alpha.agent, first)
    alpha.measure(study)
    assert alpha.answer(study.sha256)[:1] == b"K"
    # the old list under the new number holds the old keys
    with pytest.raises(WrongAudienceError):
        take_round(alpha.agent, round_of(federation, study, list(keys.values()), attempt=2))
    assert [e.kind for e in alpha.agent.ledger.entries()] == ["charged", "stored"]


def test_attempts_end_with_the_study_and_calls_for_more_are_refused(
    federation: Federation,
) -> None:
    study = federation.approved(federation.noise(attempts=2))
    given_keys(federation, study)
    alpha = federation.sites["alpha"].agent
    with pytest.raises(MalformedError, match="attempt 3"):
        take_round(alpha, round_of(federation, study, [], attempt=3, phase="keys"))
    assert take_round(alpha, round_of(federation, study, [], attempt=2, phase="keys"))
    assert not take_round(alpha, round_of(federation, study, [], attempt=2, phase="keys"))
    assert not take_round(alpha, round_of(federation, study, [], attempt=1, phase="keys"))


def test_a_list_that_the_coordinator_did_not_sign_is_nothing(federation: Federation) -> None:
    study = federation.approved()
    keys = given_keys(federation, study)
    honest = round_of(federation, study, list(keys.values()))
    bent = sign_payload(
        peek_payload(honest), payload_type=SumRound.payload_type, key=StatementKey.generate()
    )
    with pytest.raises(BadSignatureError):
        take_round(federation.sites["alpha"].agent, bent)
    federation.operator.own_key = federation.operator.study_key
    with pytest.raises(BadSignatureError):
        take_round(
            federation.sites["alpha"].agent, round_of(federation, study, list(keys.values()))
        )


def test_a_key_of_low_order_in_the_list_costs_nothing(federation: Federation) -> None:
    study = federation.approved()
    keys = given_keys(federation, study)
    charlie = federation.sites["charlie"].agent.statement_key
    bent, _ = forged(study, "charlie", charlie, x25519="00" * 32)
    alpha = federation.sites["alpha"]
    listed = [keys["alpha"], keys["bravo"], bent]
    assert take_round(alpha.agent, round_of(federation, study, listed))
    with pytest.raises(MalformedError, match="low order"):
        alpha.measure(study)
    assert nothing_spent(federation)


def test_a_site_that_has_not_approved_answers_no_list(federation: Federation) -> None:
    study = federation.opened()
    alpha = federation.sites["alpha"]
    alpha.exchange()
    assert not take_round(alpha.agent, round_of(federation, study, [], attempt=1, phase="done"))
    assert alpha.answer(study.sha256) == b"Nundecided"
    with pytest.raises(NotReadyError):
        alpha.agent.sums.listed(study)


def listed(federation: Federation) -> Opened[Study]:
    """A round whose list is out, and of which nobody has sent anything yet."""
    study = federation.approved()
    federation.give_keys(study)
    federation.advance(study)
    federation.hear()
    return study


def with_table(said: Fields, **changes: Any) -> Fields:
    first, *rest = said["tables"]
    return said | {"tables": [first | changes, *rest]}


BENT: list[tuple[Callable[[Fields], Fields], str]] = [
    (lambda said: said | {"round_sha256": "ab" * 32}, "another list"),
    (lambda said: said | {"site": "alpha"}, "key"),
    (lambda said: said | {"study_sha256": "ab" * 32}, "study"),
    (lambda said: said | {"tables": said["tables"][:1]}, "other tables"),
    (lambda said: said | {"tables": said["tables"][::-1]}, "other tables"),
    (lambda said: said | {"declared_people": 1}, "declared"),
    (lambda said: with_table(said, words=words([1, 2])), "2 counts"),
    (lambda said: with_table(said, words="AAAA"), "words"),
    (lambda said: with_table(said, words="AAAAAAAAAAB="), "words"),
    (lambda said: with_table(said, words=[1, 2, 3]), "words"),
    (lambda said: with_table(said, epsilon_nano=10**9 * 2), "epsilon"),
    (lambda said: with_table(said, epsilon_nano=10), "epsilon"),
    (lambda said: with_table(said, alone_nano=10**9), "alone"),
    (lambda said: with_table(said, mechanism="none"), "mechanism"),
    (lambda said: said | {"counts": [1, 2, 3]}, "unknown field"),
]
"""What a site may bend in its masked tables, and the word that refuses it."""


def test_masked_tables_that_are_not_as_asked_are_not_admitted(federation: Federation) -> None:
    study = listed(federation)
    charlie = federation.sites["charlie"]
    envelope = charlie.measure(study)
    assert envelope is not None
    for bend, says in BENT:
        bent = json.dumps(bend(json.loads(peek_payload(envelope)))).encode()
        signed = sign_payload(
            bent, payload_type=MaskedRelease.payload_type, key=charlie.agent.statement_key
        )
        federation.operator.take("charlie", study.sha256, b"M" + signed)
        assert "masked release refused" in federation.operator.said[-1]
        assert says in federation.operator.said[-1]
        assert federation.operator.rows("masked") == 0


def test_masked_tables_in_another_sites_name_or_key_are_not_admitted(
    federation: Federation,
) -> None:
    study = listed(federation)
    envelope = federation.sites["charlie"].measure(study)
    assert envelope is not None
    federation.operator.take("alpha", study.sha256, b"M" + envelope)
    again = sign_payload(
        peek_payload(envelope),
        payload_type=MaskedRelease.payload_type,
        key=StatementKey.generate(),
    )
    federation.operator.take("charlie", study.sha256, b"M" + again)
    assert federation.operator.rows("masked") == 0
    # the first that is admitted stands, for ever
    federation.operator.take("charlie", study.sha256, b"M" + envelope)
    federation.operator.take("charlie", study.sha256, b"M" + envelope)
    assert federation.operator.rows("masked") == 1


@pytest.mark.parametrize("bend", ["one more person", "wrong masks"])
def test_a_site_that_lies_under_its_masks_is_seen_in_the_sum_alone(
    federation: Federation, bend: str
) -> None:
    """Masks for another list spoil the sum; one person too many a cell does not show."""
    study = listed(federation)
    federation.send_masked(study, "alpha", "bravo")
    charlie = federation.sites["charlie"]
    envelope = charlie.measure(study)
    assert envelope is not None
    said = json.loads(peek_payload(envelope))
    cells = MaskedTable.model_validate_json(json.dumps(said["tables"][0])).cells()
    more = 1 if bend == "one more person" else 1 << 50
    bent = with_table(said, words=words(cell + more for cell in cells))
    signed = sign_payload(
        json.dumps(bent).encode(),
        payload_type=MaskedRelease.payload_type,
        key=charlie.agent.statement_key,
    )
    federation.operator.take("charlie", study.sha256, b"M" + signed)
    where = federation.advance(study)
    assert ("spoiled" in where) == (bend == "wrong masks")


def test_a_coordinator_cannot_add_up_fewer_than_all(federation: Federation) -> None:
    study = listed(federation)
    federation.send_masked(study, "alpha", "bravo")
    coordinator = federation.operator.coordinator()
    of = coordinator.studies.sums.listed(study)
    from reidscope_protocols.envelope import open_envelope  # noqa: PLC0415  # this test alone
    from reidscope_protocols.vocabulary import KeyRole  # noqa: PLC0415  # this test alone

    noise = study.statement.noise
    assert isinstance(noise, DistributedNoise)
    masked = {
        site: open_envelope(held, MaskedRelease, noise.ring, role=KeyRole.SITE, site=site)
        for site, held in coordinator.studies.sums.masked(study.sha256).items()
    }
    with pytest.raises(Exception, match="of all 3"):
        add_up(study, of, masked)
    sums = unmasked_sum(each.statement.tables[0].cells() for each in masked.values())
    assert max(map(abs, sums)) > 1 << 40
    coordinator.close()


def test_a_key_that_another_site_gave_already_is_not_taken(federation: Federation) -> None:
    """Two that collude could otherwise give one key, and every site would refuse the list."""
    study = federation.approved()
    keys = given_keys_of_two(federation, study)
    charlie = federation.sites["charlie"].agent.statement_key
    bent, _ = forged(
        study, "charlie", charlie, x25519=SumKeys.parse(peek_payload(keys["alpha"])).x25519
    )
    federation.operator.take("charlie", study.sha256, b"K" + bent)
    assert "a key that another site gave" in federation.operator.said[-1]
    assert "2 of 3" in federation.advance(study)


def given_keys_of_two(federation: Federation, study: Opened[Study]) -> dict[str, bytes]:
    federation.give_keys(study, "alpha", "bravo")
    return {n: federation.sites[n].answer(study.sha256)[1:] for n in ("alpha", "bravo")}


def test_the_largest_masked_release_fits_into_a_frame(federation: Federation) -> None:
    now = datetime.now(UTC)
    table = MaskedTable(
        table="face-joint", words=words([-1] * 3500), epsilon_nano=10**12, alone_nano=10**12
    )
    said = MaskedRelease(
        audience=("coordinator",),
        issued_at=now,
        not_after=now + timedelta(days=3650),
        study_sha256="ab" * 32,
        site="a" * 40,
        attempt=10,
        round_sha256="ab" * 32,
        tables=(table,),
        declared_people=10**9,
        ledger=LedgerHead(sequence=10**6, head="ab" * 32),
        versions=package.versions(),
    )
    key = federation.sites["alpha"].agent.statement_key
    assert len(pad(b"M" + sign(said, key))) == RELEASE_FRAME


def test_a_round_is_named_after_all_that_its_masks_depend_on(federation: Federation) -> None:
    study = federation.approved(minimum_sites=2)
    keys = given_keys(federation, study)
    noise = study.statement.noise
    assert isinstance(noise, DistributedNoise)
    whole = participants(study, noise, 1, keys.values())
    assert participants(study, noise, 1, list(keys.values())[::-1]) == whole
    fewer = participants(study, noise, 1, list(keys.values())[:2])
    other = participants(
        study, noise.model_copy(update={"colluders_tolerated": 1}), 1, keys.values()
    )
    assert len({whole.sha256, fewer.sha256, other.sha256}) == 3
