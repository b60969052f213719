"""What a person declares of the site's surroundings leaves with the release, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from reidscope_protocols.statements import Catchment
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home


def test_a_policy_that_declares_nothing_says_nothing() -> None:
    assert Policy(declared_people=84).catchment is None


def test_a_declared_catchment_is_said_as_it_was_typed_and_written(tmp_path: Path) -> None:
    policy = Policy(declared_people=84, population_reached=250_000, region="Baden-Württemberg")
    assert policy.catchment == Catchment(population_reached=250_000, region="Baden-Württemberg")
    home = Home(tmp_path / "home")
    write_new_home(home, SiteConfig(name="north", dicom="/data"), policy)
    assert home.policy() == policy
    assert policy.sha256 != Policy(declared_people=84).sha256


@pytest.mark.parametrize(
    "wrong",
    [
        {"population_reached": -1},
        {"population_reached": 10**11},
        {"region": "North"},
        {"population_reached": 5, "region": "=cmd()"},
        {"population_reached": 5, "region": "two\nlines"},
        {"population_reached": 5, "region": "x" * 65},
    ],
)
def test_a_catchment_that_makes_no_sense_is_no_policy(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({"declared_people": 84, **wrong})
