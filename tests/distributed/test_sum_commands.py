"""`study new --noise distributed`: whose keys it writes down, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.distributed.federation import Federation
from typer.testing import CliRunner

from reidscope_protocols.errors import InputError, MalformedError
from reidscope_protocols.keys import StatementKey
from reidscope_protocols.study import Study
from reidscope_server.cli_study import study_app

REFERENCE = Path(__file__).parents[2] / "examples" / "consortium" / "reference"


def new(out: Path, *arguments: object) -> Any:
    words = ["new", "--id", "sum", "--constants", REFERENCE, "--out", out, *arguments]
    words += ["--noise", "distributed", "--population", "synthetic people"]
    result = CliRunner().invoke(study_app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_draft_holds_the_key_of_every_site_and_opens_like_any_other(
    federation: Federation, tmp_path: Path
) -> None:
    home, draft = federation.operator.home.root, tmp_path / "draft.json"
    new(draft, "--sites", "alpha,bravo,charlie", "--minimum-sites", 3, "--attempts", 2,
        "--sum-wait", 5, "--home", home)  # fmt: skip
    study = Study.parse(draft.read_bytes())
    assert study.noise is not None
    assert (study.noise.colluders_tolerated, study.noise.attempts) == (1, 2)
    assert study.noise.wait_minutes == 5
    for name, site in federation.sites.items():
        assert study.noise.key_of(name) == site.agent.statement_key.public


def test_sites_that_cannot_share_noise_are_refused(federation: Federation, tmp_path: Path) -> None:
    home, draft = federation.operator.home.root, tmp_path / "draft.json"
    cases: tuple[tuple[str, int, type[Exception], str], ...] = (
        ("alpha,bravo,zulu", 3, InputError, "not enrolled: zulu"),
        ("alpha,bravo,charlie", 2, MalformedError, "colluders_tolerated"),
        ("alpha,bravo,bravo", 3, MalformedError, "one site"),
        ("alpha", 1, MalformedError, "roster"),
    )
    for sites, minimum, refusal, says in cases:
        with pytest.raises(refusal, match=says):
            new(draft, "--sites", sites, "--minimum-sites", minimum, "--home", home)
        assert not draft.exists()


def test_without_a_home_nobody_knows_the_keys(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no --home"):
        new(tmp_path / "draft.json", "--sites", "alpha,bravo,charlie")


def test_open_refuses_a_roster_with_another_key_and_takes_the_one_that_was_drafted(
    federation: Federation, tmp_path: Path
) -> None:
    home, draft, signed = federation.operator.home.root, tmp_path / "d.json", tmp_path / "s.json"
    new(draft, "--sites", "alpha,bravo,charlie", "--minimum-sites", 3, "--home", home)

    def opened() -> Any:
        for words in (
            ["sign", draft, "--out", signed, "--home", home],
            ["open", signed, "--constants", REFERENCE, "--home", home],
        ):
            result = CliRunner().invoke(study_app, [str(word) for word in words])
            if result.exception:
                raise result.exception
        return result

    drafted = draft.read_text()
    own = federation.sites["bravo"].agent.statement_key.public
    draft.write_text(drafted.replace(own, StatementKey.generate().public))
    with pytest.raises(InputError, match="another key than the enrolled one, of bravo"):
        opened()
    draft.write_text(drafted)
    assert "sum is open: sha256" in opened().stdout
