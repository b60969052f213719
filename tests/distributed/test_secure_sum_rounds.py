"""Attempts of a secure sum, from keys to the sum, over the shipped code on both sides."""

from __future__ import annotations
from pathlib import Path
from tests.distributed.federation import Federation
from reidscope_server.publish import publish
from reidscope_server.report.verify import verify_report


def test_it_runs(federation: Federation, tmp_path: Path) -> None:
    study = federation.approved(epsilon="2")
    federation.summed(study)
    c = federation.operator.coordinator()
    p = publish(c, "faces-1", tmp_path / "report", notices=())
    print(p.headlines)
    print(verify_report(tmp_path / "report"))
    print((tmp_path / "report" / "methods.txt").read_text())
    print(p.report.privacy, p.report.tables, p.report.sites)
    assert 0
