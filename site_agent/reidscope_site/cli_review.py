"""`reidscope-site review`: contact sheets of people, and faces marked by hand, before matching."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reidscope_protocols.desk import Desk
from reidscope_protocols.errors import InputError, NotReadyError
from reidscope_protocols.terminal import say
from reidscope_site.agent import Agent
from reidscope_site.child import child_of
from reidscope_site.config import Home
from reidscope_site.progress import people_left, stoppable
from reidscope_site.review.folder import ReviewFolder
from reidscope_site.review.looking import close_doors, photo_size
from reidscope_site.review.making import Made, make_sheets, require_index
from reidscope_site.review.marks import keep_marks, read_marks
from reidscope_site.worker import empty

_DEFAULT_HOME = Path("reidscope-site-home")
_FOLDER = "review"
_PHOTO_SECONDS = 120.0


def review_command(
    home: Annotated[
        Path,
        typer.Option(
            "--home", envvar="REIDSCOPE_SITE_HOME", help="The site's home folder.", file_okay=False
        ),
    ] = _DEFAULT_HOME,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the pages; HOME/review without.", file_okay=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Look at so many people this time, no more.")
    ] = None,
    study: Annotated[
        str, typer.Option(help="Show this study's arms and mates; the policy's arms without.")
    ] = "",
    mark: Annotated[
        Path | None,
        typer.Option(help="Take in a file of faces that were marked on the page.", dir_okay=False),
    ] = None,
    *,
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete the pages.")] = False,
) -> None:
    """Look at people before matching: photo, face before and after each defacer, gates, flags.

    The pages stay at the site, readable by their owner alone; no result of matching is on them.
    """
    existing = Home.existing(home)
    root = out or existing.root / _FOLDER
    if wipe:
        others = ReviewFolder.existing(root).wipe()
        rest = f"; {others} files that are not the contact sheet's stay" if others else ""
        say(f"the contact sheet was deleted{rest}")
        return
    with Desk(existing.root).claim() as held:
        if not held:
            raise NotReadyError(
                "review",
                got="an agent at work in this home",
                expected="a home that nobody holds",
                do="stop it first: `reidscope-site stop`",
            )
        agent = Agent(existing)
        try:
            if mark is not None:
                _mark(agent, mark)
                return
            folder = ReviewFolder.prepared(root)
            chosen = agent.studies.find(study) if study else None
            with stoppable(), people_left("looking at people") as tell:
                made = make_sheets(agent, folder, study=chosen, limit=limit, progress=tell)
        finally:
            agent.close()
    _say(made, folder)


def _mark(agent: Agent, file: Path) -> None:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise InputError(
            "marks", got="no such file", expected="a file of marks", do="name another one"
        ) from None
    marks = read_marks(content)
    require_index(agent)
    with child_of(close_doors, None, clear=lambda: empty(agent.home.work)) as child:
        marked = keep_marks(
            agent, marks, lambda path: child.ask(photo_size, path, seconds=_PHOTO_SECONDS) or (0, 0)
        )
    say(
        f"faces marked: {marked.kept}, marks taken back: {marked.taken_back}; approvals that were"
        " given before are void; `reidscope-site review` shows what became of them"
    )


def _say(made: Made, folder: ReviewFolder) -> None:
    say(
        f"looked at {made.looked_at} people; {made.people - made.waiting} of {made.people} on the"
        f" pages, {made.flagged} with something to look at"
    )
    if made.failed:
        say(f"{made.failed} could not be looked at for want of memory or time")
    say(f"open {folder.page(1)} in a browser; then: reidscope-site review --wipe")
