"""A distributed study's roster is that of the enrolled sites' keys, or the study is not opened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tests.server.test_site_keys import change_of

from reidscope_protocols.distributed import DistributedNoise
from reidscope_protocols.envelope import Opened
from reidscope_protocols.errors import InputError
from reidscope_protocols.keys import KeyRecord, StatementKey
from reidscope_protocols.study import Study
from reidscope_protocols.vocabulary import KeyRole
from reidscope_server.coordinator import Coordinator

OpenStudy = Callable[..., Opened[Study]]


@pytest.fixture(name="open_study")
def _open_study(open_study: OpenStudy, north: Any, south: Any) -> OpenStudy:
    """Both sites are enrolled, and both are needed."""
    assert (north.name, south.name) == ("north", "south")
    return partial(open_study, minimum_sites=2)


def noise(*roster: KeyRecord) -> DistributedNoise:
    return DistributedNoise(colluders_tolerated=0, roster=roster)


def of(site: str, key: StatementKey) -> KeyRecord:
    now = datetime.now(UTC)
    return KeyRecord(
        role=KeyRole.SITE,
        site=site,
        public=key.public,
        not_before=now,
        not_after=now + timedelta(days=365),
    )


def enrolled(coordinator: Coordinator) -> dict[str, KeyRecord]:
    return {site.name: site.key_record() for site in coordinator.sites.every()}


def test_the_enrolled_keys_are_opened_and_again_after_a_change_of_keys(
    coordinator: Coordinator, open_study: OpenStudy, south: Any
) -> None:
    held = enrolled(coordinator)
    study = open_study(noise=noise(held["north"], held["south"]))
    coordinator.sites.keys.change(change_of(coordinator, south, StatementKey.generate()), "south")
    files: dict[str, bytes] = {}
    assert coordinator.studies.open(study.envelope, files).sha256 == study.sha256


def test_a_strange_key_is_refused_and_named_by_its_site_alone(
    coordinator: Coordinator, open_study: OpenStudy
) -> None:
    strange = StatementKey.generate()
    with pytest.raises(InputError, match="enrolled one, of south") as refused:
        open_study(noise=noise(enrolled(coordinator)["north"], of("south", strange)))
    assert strange.public not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert coordinator.studies.every() == ()


def test_a_swapped_pair_of_keys_is_refused(open_study: OpenStudy, north: Any, south: Any) -> None:
    with pytest.raises(InputError, match="of north, south"):
        open_study(noise=noise(of("north", south.key), of("south", north.key)))


def test_the_key_before_a_change_is_refused(
    coordinator: Coordinator, open_study: OpenStudy, south: Any
) -> None:
    before = enrolled(coordinator)
    coordinator.sites.keys.change(change_of(coordinator, south, StatementKey.generate()), "south")
    with pytest.raises(InputError, match="of south"):
        open_study(noise=noise(before["north"], before["south"]))
    now = enrolled(coordinator)
    assert open_study(noise=noise(now["north"], now["south"])).statement.noise is not None


def test_a_site_that_is_revoked_or_was_never_enrolled_is_refused(
    coordinator: Coordinator, open_study: OpenStudy
) -> None:
    held = enrolled(coordinator)
    with pytest.raises(InputError, match="not enrolled: west"):
        open_study(
            sites=("north", "west"), noise=noise(held["north"], of("west", StatementKey.generate()))
        )
    coordinator.sites.revoke("south")
    with pytest.raises(InputError, match="not enrolled: south"):
        open_study(noise=noise(held["north"], held["south"]))


def test_a_study_with_local_noise_is_opened_before_its_sites_enrol(open_study: OpenStudy) -> None:
    assert open_study(sites=("east", "west")).statement.noise is None
