"""A federation for each test, copied from one that is at rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attacks.parties import MakeStudy
from tests.distributed.federation import Federation, write_template

NAMES = ("alpha", "bravo", "charlie")


@pytest.fixture(scope="session")
def sums_template(tmp_path_factory: pytest.TempPathFactory, make_study: MakeStudy) -> Path:
    return write_template(tmp_path_factory.mktemp("sums"), NAMES, make_study)


@pytest.fixture
def federation(sums_template: Path, tmp_path: Path, make_study: MakeStudy) -> Iterator[Federation]:
    made = Federation.copied(sums_template, tmp_path / "federation", make_study, NAMES)
    yield made
    made.close()
