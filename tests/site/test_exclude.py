"""Opt-outs: left out before anything is counted, and whoever opts out later voids a yes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidscope_protocols.errors import ConsentMissingError, LinkError, NoUsablePeopleError
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import DecisionReason, Verdict
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.exclude import OptOuts, read_opt_outs
from reidscope_site.sources.facts import patient_identity
from reidscope_site.verbs import carry_out, told

ROLE = "data protection officer"
Series = Callable[..., tuple[Path, ...]]


@pytest.fixture
def opted(home: Home, series: Series, tmp_path: Path) -> Path:
    """Three people with a scan and a photo each, and an empty list of opt-outs."""
    config = home.config()
    rows = ["patient_id,photo"]
    for number in (1, 2, 3):
        series(Path(config.dicom, str(number)), f"SECRET-{number}", names=str(number))
        Path(config.photos, f"{number}.png").write_bytes(b"photo")
        rows.append(f"SECRET-{number},{number}.png")
    Path(config.links).write_text("\n".join(rows) + "\n")
    path = tmp_path / "opt-outs.txt"
    path.write_text("")
    text = home.site_file.read_text().replace('exclude = ""', f'exclude = "{path}"')
    home.site_file.write_text(text)
    return path


@pytest.fixture
def indexed(home: Home, opted: Path) -> Callable[[str], dict[str, Any]]:
    def index(lines: str) -> dict[str, Any]:
        opted.write_text(lines)
        agent = Agent(home)
        try:
            return carry_out(agent, "index", {})
        finally:
            agent.close()

    return index


def test_whoever_opted_out_is_in_no_count_but_the_reasons(
    home: Home, indexed: Callable[[str], dict[str, Any]]
) -> None:
    assert indexed("")["people"] == 3
    answer = indexed("# the hospital's list\nSECRET-2\n\nSECRET-99\n")
    assert answer["people"] == answer["with_photo"] == 2
    assert answer["excluded"] == {"opted-out": 1}
    assert "1 opted-out" in "\n".join(told(answer))
    agent = Agent(home)
    kept = [str(scan.files) for person in agent.snapshot.people() for scan in person.scans]
    stored = list(agent.connection.iterdump())
    agent.close()
    assert len(kept) == 2
    assert not [line for line in stored if "SECRET-2" in line or "SECRET-99" in line]


def test_spaces_and_line_ends_of_windows_change_nobody(
    indexed: Callable[[str], dict[str, Any]],
) -> None:
    assert indexed("\ufeff SECRET-1 \r\nSECRET-3\r\n")["people"] == 1


def test_nobody_left_is_an_error_as_ever(indexed: Callable[[str], dict[str, Any]]) -> None:
    with pytest.raises(NoUsablePeopleError, match="3 opted-out"):
        indexed("SECRET-1\nSECRET-2\nSECRET-3\n")


@pytest.mark.parametrize(
    "line", ["SECRET-1,asked by letter", '"SECRET-1"', "x;SECRET-2", "SECRET-3\tno", "'SECRET-3'"]
)
def test_a_line_that_would_leave_nobody_out_for_its_columns_or_quotes_stops_the_index(
    indexed: Callable[[str], dict[str, Any]], line: str
) -> None:
    with pytest.raises(LinkError, match="something beside it") as caught:
        indexed(f"{line}\n")
    assert "SECRET" not in str(caught.value)


def test_nobody_is_indexed_without_the_list(home: Home, opted: Path) -> None:
    agent = Agent(home)
    for break_it in (lambda: opted.write_bytes(b"\xff\xfe\x00"), opted.unlink):
        break_it()
        with pytest.raises(LinkError, match="exclude file") as caught:
            carry_out(agent, "index", {})
        assert opted.name not in str(caught.value)
    agent.close()


def test_whoever_opts_out_after_the_yes_voids_it(
    home: Home,
    opted: Path,
    coordinator: Any,
    make_study: Callable[..., Study],
) -> None:
    agent = Agent(home)
    carry_out(agent, "index", {})
    study = agent.studies.receive(coordinator.sign(make_study()))

    def require() -> None:
        found = agent.snapshot.found_again(agent.site_key)
        agent.consent.require(study, policy=agent.policy, snapshot_digest=found)

    def approve() -> None:
        agent.decide(study.sha256, Verdict.APPROVED, role=ROLE, reason=DecisionReason.REVIEWED)

    approve()
    require()
    opted.write_text("SECRET-1\n")
    with pytest.raises(ConsentMissingError, match="index"):
        require()
    carry_out(agent, "index", {})
    with pytest.raises(ConsentMissingError, match="index"):
        require()
    approve()
    require()
    agent.close()


IDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "M", "Z")), min_size=1, max_size=12
)


@given(ids=st.sets(IDS.filter(lambda text: not text.startswith("#")), max_size=8), other=IDS)
def test_exactly_those_on_the_list_opted_out(
    ids: set[str], other: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("list") / "list"
    path.write_text("\n".join(ids), encoding="utf-8")
    opt_outs = read_opt_outs(path)
    assert all(one in opt_outs for one in ids)
    assert all(f"sub-{one}" in opt_outs for one in ids)
    named = {patient_identity(one) for one in ids}
    assert (other in opt_outs) == (
        bool({patient_identity(other), patient_identity(other).removeprefix("sub-")} & named)
    )
    assert "SECRET" not in repr(OptOuts(frozenset({"SECRET"})))
