"""A planted token stands everywhere in the data; it comes out nowhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reidscope_protocols.errors import ReidscopeError
from reidscope_protocols.study import Study
from reidscope_site.agent import Agent
from reidscope_site.config import Home
from reidscope_site.doctor import examine
from reidscope_site.handover import answer_for
from reidscope_site.verbs import ask, carry_out

TOKEN = "CANARYTOKEN"
ROLE = "data protection officer"
Series = Callable[..., tuple[Path, ...]]


@pytest.fixture
def planted(home: Home, series: Series) -> Home:
    """Names, IDs, folders, files, photos and links, all with the token in them."""
    config = home.config()
    data = Path(config.dicom)
    series(data / TOKEN / "a", f"{TOKEN}-1", names=TOKEN)
    series(data / TOKEN / "b", f"{TOKEN}-2", names=TOKEN, BodyPartExamined="KNEE")
    series(data / TOKEN / "c", f"{TOKEN}-3", names=TOKEN, StudyDescription=TOKEN, slices=1)
    (data / TOKEN / f"{TOKEN}.txt").write_text(TOKEN)
    (data / TOKEN / f"{TOKEN}.dcm").write_bytes(b"\0" * 128 + b"DICM" + TOKEN.encode() * 9)
    rows = ["patient_id,photo"]
    for number in (1, 2, 3):
        Path(config.photos, f"{TOKEN}{number}.png").write_bytes(b"photo")
        rows.append(f"{TOKEN}-{number},{TOKEN}{number}.png")
    Path(config.links).write_text("\n".join(rows) + "\n")
    return home


def links_of(home: Home, text: str) -> Callable[[], object]:
    return lambda: Path(home.config().links).write_text(text)


def refusals(home: Home) -> list[tuple[Callable[[], object], str, dict[str, Any]]]:
    """What is done to the home, and the verb that must refuse after it."""
    nothing = lambda: None  # noqa: E731  # most refusals need no preparation
    decide = {"study": "faces-1", "verdict": "approved", "role": ROLE, "reason": "reviewed"}
    missing = str(home.root / TOKEN)
    return [
        (links_of(home, f"{TOKEN}\n"), "index", {}),
        (links_of(home, f"patient_id,photo\n{TOKEN},{TOKEN}1.png\n"), "index", {}),
        (links_of(home, f"patient_id,photo\n{TOKEN}-1,{TOKEN}9.png\n"), "index", {}),
        (links_of(home, f"patient_id,photo\n{TOKEN}-1,../{TOKEN}\n"), "index", {}),
        (links_of(home, f"patient_id,photo\n{TOKEN}-1,{TOKEN}\0\n"), "index", {}),
        (links_of(home, f"patient_id,photo\n{TOKEN}-2,{TOKEN}2.png\n"), "index", {}),
        (nothing, "show", {"study": TOKEN}),
        (nothing, "preview", {"study": TOKEN}),
        (nothing, "decide", {**decide, "study": TOKEN}),
        (nothing, "decide", {**decide, "role": TOKEN}),
        (nothing, "export", {"out": str(home.site_file)}),
        (nothing, "import", {"file": missing}),
        (lambda: Path(missing).write_text(TOKEN), "import", {"file": missing}),
        (lambda: Path(missing).write_text(f'{{"{TOKEN}": 1}}'), "import", {"file": missing}),
        (nothing, TOKEN, {}),
    ]


def test_no_refusal_journal_export_or_answer_holds_what_stood_in_the_data(
    planted: Home,
    coordinator: Any,
    make_study: Callable[..., Study],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out.append(repr(ask(planted.root, "index", {})))
        study = tmp_path / "study"
        study.write_bytes(coordinator.sign(make_study()))
        out.append(repr(ask(planted.root, "import", {"file": str(study)})))
        decide = {"study": "faces-1", "verdict": "approved", "role": ROLE, "reason": "reviewed"}
        out.append(repr(ask(planted.root, "decide", decide)))
        for prepare, verb, arguments in refusals(planted):
            prepare()
            with pytest.raises(ReidscopeError) as refused:
                ask(planted.root, verb, arguments)
            out.append(str(refused.value))
            assert str(refused.value).isprintable()
    out += [repr(ask(planted.root, verb, {})) for verb in ("ledger", "journal", "studies")]
    ask(planted.root, "export", {"out": str(tmp_path / "out")})
    agent = Agent(planted)
    out += [line for found in examine(planted) for line in (found.what,)]
    out += [str(item.envelope) for item in agent.outbox.every()]
    out += [str(answer_for(agent, agent.studies.find("faces-1").sha256))]
    for table in ("ledger", "journal", "outbox", "decision", "snapshot"):
        out.append(repr(agent.connection.execute(f"SELECT * FROM {table}").fetchall()))  # noqa: S608  # the test's own words
    agent.close()
    out += [path.read_text() for path in (tmp_path / "out").iterdir()]
    out += [str(warning.message) for warning in caught]
    out += capfd.readouterr()
    assert len(out) > 30
    for text in out:
        assert TOKEN not in text
        assert str(Path(planted.config().dicom)) not in text


def test_the_index_counts_reasons_and_names_nobody(planted: Home) -> None:
    agent = Agent(planted)
    answer = carry_out(agent, "index", {})
    agent.close()
    assert answer["people"] == 1
    assert answer["excluded"] == {"not-a-head": 1, "one-slice": 1}
    assert answer["skipped_files"] == 2
