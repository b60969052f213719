"""Fixtures of the federation: people, and a running coordinator with three enrolled sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.federation.consortium import PEOPLE, SITES, Consortium, ok

from reidscope_site.synthetic.people import write_people
from reidscope_site.synthetic.seeds import PersonSeed, Population


@pytest.fixture(scope="session")
def people_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Synthetic people of every site, written once."""
    root = tmp_path_factory.mktemp("people")
    for name in SITES:
        seeds = [
            PersonSeed(population=Population.SITE, label=name, number=number)
            for number in range(PEOPLE)
        ]
        write_people(root / name, seeds)
    return {name: root / name for name in SITES}


@pytest.fixture
def consortium(tmp_path: Path, people_of: dict[str, Path]) -> Iterator[Consortium]:
    """A running coordinator, and three sites that are enrolled and indexed."""
    made = Consortium(tmp_path)
    enrolment, control, fleet = made.ports
    ok(made.server("init", "--enrolment-port", enrolment, "--control-port", control,
                   "--fleet-port", fleet))  # fmt: skip
    made.up()
    try:
        for name in SITES:
            data = people_of[name]
            invitation = tmp_path / f"{name}.invitation.json"
            ok(made.server("token", name, "--out", invitation))
            ok(made.site(name, "init", "--name", name, "--dicom", data / "dicom",
                         "--photos", data / "photos", "--links", data / "links.csv",
                         "--declared-people", PEOPLE,
                         "--population", "synthetic people"))  # fmt: skip
            ok(made.site(name, "enroll", invitation))
            ok(made.site(name, "index"))
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)
