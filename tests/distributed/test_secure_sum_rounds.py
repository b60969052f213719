"""Attempts of a secure sum, from keys to the sum, over the shipped code on both sides."""

from __future__ import annotations

from tests.distributed.federation import Federation


def test_it_runs(federation: Federation) -> None:
    study = federation.approved(epsilon="2")
    federation.give_keys(study)
    exact = federation.exact(study)
    print(exact)
    print(federation.advance(study))
    federation.hear()
    federation.send_masked(study)
    print(federation.advance(study), federation.operator.said)
    for s in federation.sites.values():
        print(s.said, s.spent(), [ (e.kind, e.table, str(e.loss), str(e.alone)) for e in s.agent.ledger.entries()])
    assert 0
