"""Options that several commands of `reidscope-site` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="REIDSCOPE_SITE_HOME",
        help="The site's home folder, or the running agent's socket.",
        file_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="Its id, or the first digits of its sha256.")
]
Role = Annotated[str, typer.Option(help="The role that decides, as the policy file names it.")]
DEFAULT_HOME = Path("reidscope-site-home")
