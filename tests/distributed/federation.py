"""A secure sum in a test's hand: one operator and several sites over the shipped code, in memory.

    made = Federation.copied(template, folder, make_study, names)
    study = made.approved(epsilon="1")       written, opened, received, indexed, approved
    made.give_keys(study)                    every site: measure, then its answer in a round
    made.advance(study)                      what the coordinator does on its turn
    made.hear()                              every site: exchange over the control line
    made.send_masked(study)                  every site: charge, draw, mask, store, answer

Each step can be taken for some sites alone, twice, or with what travels bent (`attacks.parties`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attacks.parties import MakeStudy, Operator, SiteParty, copied_or_linked

from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.envelope import Opened
from reidscope_protocols.study import Study
from reidscope_site.config import Home
from reidscope_site.outcomes import Outcome, Outcomes

POLICY: dict[str, Any] = {
    "distributed": True,
    "distributed_sites": 2,
    "epsilon_per_study": "4",
    "epsilon_lifetime": "8",
    "epsilon_alone_per_study": "40",
    "epsilon_alone_lifetime": "80",
}


def write_template(root: Path, names: Iterable[str], make_study: MakeStudy) -> Path:
    operator = Operator.at(root / "coordinator", make_study)
    for name in names:
        SiteParty.made(root / name, operator, name, **POLICY)
    return root


@dataclass
class Federation:
    """One operator and its sites."""

    operator: Operator
    sites: dict[str, SiteParty]

    @classmethod
    def copied(
        cls, template: Path, folder: Path, make_study: MakeStudy, names: Iterable[str]
    ) -> Federation:
        shutil.copytree(template, folder, dirs_exist_ok=True, copy_function=copied_or_linked)
        operator = Operator.at(folder / "coordinator", make_study)
        sites = {}
        for name in names:
            home = Home(folder / name)
            text = home.site_file.read_text().replace(str(template), str(folder))
            home.site_file.write_text(text)
            sites[name] = SiteParty.at(home, operator)
        return cls(operator=operator, sites=sites)

    def noise(self, *, colluders: int = 0, **changes: Any) -> DistributedNoise:
        coordinator = self.operator.coordinator()
        roster = {s.name: s.key_record() for s in coordinator.sites.every()}
        coordinator.close()
        fields = {"roster": tuple(roster[name] for name in self.sites), **changes}
        return DistributedNoise(colluders_tolerated=colluders, **fields)

    def opened(self, noise: DistributedNoise | None = None, **changes: Any) -> Opened[Study]:
        fields = {
            "sites": tuple(self.sites),
            "minimum_sites": len(self.sites),
            "noise": noise or self.noise(),
            **changes,
        }
        return self.operator.open(**fields)

    def approved(self, noise: DistributedNoise | None = None, **changes: Any) -> Opened[Study]:
        study = self.opened(noise, **changes)
        for site in self.sites.values():
            site.exchange()
            site.index()
            site.approve(study.sha256)
            site.exchange()
        return study

    def take(self, study: Opened[Study], *names: str) -> None:
        """Have the coordinator take what sites answer in a round."""
        for name in names or self.sites:
            self.operator.take(name, study.sha256, self.sites[name].answer(study.sha256))

    def give_keys(self, study: Opened[Study], *names: str) -> None:
        for name in names or self.sites:
            self.sites[name].measure(study)
            self.take(study, name)

    def advance(self, study: Opened[Study]) -> str:
        """Take the coordinator's turn; says where the sum stands."""
        coordinator = self.operator.coordinator()
        coordinator.studies.advance(study, self.operator.said.append)
        said = coordinator.studies.sums.said(study)
        coordinator.close()
        return said

    def hear(self, *names: str) -> None:
        for name in names or self.sites:
            self.sites[name].exchange()

    send_masked = give_keys
    """The same two steps: what a site does next depends on what it has heard."""

    def summed(self, study: Opened[Study]) -> None:
        """Go through a whole attempt."""
        self.give_keys(study)
        self.advance(study)
        self.hear()
        self.send_masked(study)
        self.advance(study)

    def exact(self, study: Opened[Study]) -> list[list[int]]:
        """Count every site's sealed outcomes; to be asked before they are erased."""
        sums = [[0] * len(table.cells) for table in study.statement.tables]
        for site in self.sites.values():
            outcomes = Outcomes(site.agent.connection, site.agent.site_key, study.sha256)
            for outcome in outcomes.all():
                for total, cell in zip(sums, outcome.cells, strict=True):
                    total[cell] += 1
        return sums

    def close(self) -> None:
        for site in self.sites.values():
            site.agent.close()


def put_outcomes(site: SiteParty, study: Opened[Study], cells: Iterable[tuple[int, ...]]) -> None:
    """Seal outcomes of one's own choice, a person each."""
    outcomes = Outcomes(site.agent.connection, site.agent.site_key, study.sha256)
    for person, chosen in zip(site.agent.snapshot.people(), cells, strict=True):
        outcomes.keep(person.pseudonym, Outcome(cells=chosen))
