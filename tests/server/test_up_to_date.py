"""The site table is read anew where the database has changed, and only there."""

from __future__ import annotations

import threading

import pytest

from reidscope_server.config import ServerHome
from reidscope_server.coordinator import Coordinator
from reidscope_server.up import fleet_sites
from reidscope_server.up_to_date import UpToDate


class Read:
    """Counts how often the table was read."""

    def __init__(self, home: ServerHome) -> None:
        self.home, self.times = home, 0

    def __call__(self) -> tuple[str, ...]:
        self.times += 1
        return tuple(site.name for site in fleet_sites(self.home))


@pytest.mark.usefixtures("north", "south")
def test_what_another_connection_commits_is_seen_at_the_next_call(
    server_home: ServerHome,
) -> None:
    read = Read(server_home)
    now = UpToDate(server_home.database, read)
    assert now() == ("north", "south")
    with Coordinator.opened(server_home) as coordinator:
        coordinator.sites.revoke("north")
        assert now() == ("south",)
    assert read.times == 2


@pytest.mark.usefixtures("north")
def test_a_table_that_did_not_change_is_read_once_a_thread(
    server_home: ServerHome,
) -> None:
    read = Read(server_home)
    now = UpToDate(server_home.database, read)
    said = [now() for _ in range(50)]
    assert (len(set(said)), read.times) == (1, 1)
    others: list[tuple[str, ...]] = []
    thread = threading.Thread(target=lambda: others.extend(now() for _ in range(50)))
    thread.start()
    thread.join()
    assert set(others) == set(said)
    assert read.times == 2
