"""Every byte that left lies at the site: by time and kind, its owner's alone, for its time."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.envelope import Opened
from reidscope_protocols.study import Study
from reidscope_site.agent import Agent
from reidscope_site.control import Control
from reidscope_site.portable import export_statements
from reidscope_site.sent import Sent


def listed(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_what_left_lies_there_by_time_and_kind_for_its_owner_alone(tmp_path: Path) -> None:
    sent = Sent(tmp_path / "sent", days=10)
    sent.keep("decision", b"an envelope")
    (held,) = (tmp_path / "sent").glob("*.bin")
    assert held.read_bytes() == b"an envelope"
    assert held.name.startswith(f"{datetime.now(UTC):%Y%m%dT}")
    assert "-decision-" in held.name
    for path in (tmp_path / "sent").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "sent").stat().st_mode) == 0o700
    (line,) = listed(tmp_path / "sent")
    assert (line["kind"], line["bytes"], line["file"]) == ("decision", 11, held.name)


@settings(max_examples=8, deadline=None)
@given(
    leaving=st.lists(
        st.tuples(st.sampled_from(["answer", "constant-request"]), st.binary(max_size=9)),
        max_size=6,
    )
)
def test_everything_that_left_can_be_put_together_again_in_order(
    tmp_path_factory: pytest.TempPathFactory, leaving: list[tuple[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("home") / "sent"
    for number, (kind, content) in enumerate(leaving):
        # Another process in the middle: an agent that was started again.
        sent = Sent(folder, days=10) if number % 3 == 0 else sent  # type: ignore[has-type]  # noqa: F821  # number 0 comes first
        sent.keep(kind, content)
    again = [(line["kind"], (folder / line["file"]).read_bytes()) for line in listed(folder)]
    assert again == leaving
    assert len(list(folder.glob("*.bin"))) == len(set(leaving))


def test_what_is_older_than_the_site_keeps_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    now = datetime.now(UTC)
    days = (0, 9, 11, 400)
    for old in days:
        at = now - timedelta(days=old)
        (folder / f"{at:%Y%m%dT%H%M%S.%fZ}-answer-{old:016}.bin").write_bytes(b"")
        (folder / f"{at:%Y-%m-%d}.jsonl").write_text("")
    Sent(folder, days=10).keep("answer", b"word")
    left = sorted(path.name for path in folder.iterdir())
    assert len([name for name in left if name.endswith(".bin")]) == 3
    assert len([name for name in left if name.endswith(".jsonl")]) == 2


def test_what_cannot_be_kept_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "sent").write_text("a file in its place")

    class Stub:
        def Decide(self, *_: object, **__: object) -> None:  # noqa: N802  # gRPC's own name
            pytest.fail("it left")

    channel = Control.__new__(Control)
    channel._sent = Sent(tmp_path / "sent", days=10)
    channel._stub = Stub()  # type: ignore[assignment]  # the other party
    with pytest.raises(OSError, match="sent"):
        channel.decide(b"an envelope")


def test_what_is_exported_is_kept_as_well(
    agent: Agent, approved: Opened[Study], tmp_path: Path
) -> None:
    assert approved
    (written,) = export_statements(agent, tmp_path / "out")
    (held,) = agent.home.sent.glob("*-exported-decision-*.bin")
    assert held.read_bytes() == written.read_bytes()
