"""The rounds of one coordinator: ask sites for releases until each has answered for good."""

from __future__ import annotations

from collections.abc import Callable

from reidscope_protocols.errors import ReidscopeError
from reidscope_server.coordinator import Coordinator
from reidscope_server.flower import Fleet, Reply

RELEASE = b"R"
SUM_KEYS = b"K"
MASKED = b"M"
WORD = b"N"
_WORDS = frozenset({"unknown-study", "undecided", "declined", "working", "lost"})


def one_turn(coordinator: Coordinator, fleet: Fleet, say: Callable[[str], None]) -> None:
    """Ask whoever still owes a release, and take in what was answered."""
    owed: dict[str, list[tuple[str, str]]] = {}
    for study in coordinator.studies.collecting():
        if study.statement.noise is not None:
            coordinator.studies.advance(study, say)
        owing = [
            standing for standing in coordinator.studies.standings(study) if not standing.finished
        ]
        if not owing:
            coordinator.studies.set_collecting(study.sha256, collecting=False)
            say(f"{study.statement.study_id}: every site has answered")
        for standing in owing:
            if not standing.owes:
                continue
            owed.setdefault(standing.site, []).append((standing.heard_at, study.sha256))
    # The study that was answered longest ago: a site's undecided one must not hold up another.
    fleet.ask({site: min(studies)[1] for site, studies in owed.items()})
    replies = fleet.replies()
    if not replies:
        return
    lines: list[str] = []
    # One commit for all of them: a commit waits for the disk. Said once they are kept.
    with coordinator.studies.together():
        for reply in replies:
            take(coordinator, reply, lines.append)
    for line in lines:
        say(line)


def take(coordinator: Coordinator, reply: Reply, say: Callable[[str], None]) -> None:
    """Take one reply: a release goes through admission, a word is noted, all else is nothing."""
    kind, body = reply.content[:1], reply.content[1:]
    takes = {
        RELEASE: ("release", coordinator.studies.take_release, "released"),
        SUM_KEYS: ("sum keys", coordinator.studies.take_sum_keys, "keys"),
        MASKED: ("masked release", coordinator.studies.take_masked, "masked"),
    }
    if kind in takes:
        what, admit, word = takes[kind]
        try:
            admit(body, reply.site)
        except ReidscopeError as error:
            coordinator.studies.hear(reply.study_sha256, reply.site, "refused")
            say(f"{reply.site}: {what} refused: {error}")
        else:
            coordinator.studies.hear(reply.study_sha256, reply.site, word)
            say(f"{reply.site}: {what} stored ({len(body)} bytes, signed)")
    elif kind == WORD:
        word = body.decode("ascii", "replace")
        said = word if word in _WORDS else "unknown"
        coordinator.studies.hear(reply.study_sha256, reply.site, said)
