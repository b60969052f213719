"""Write a hospital of synthetic people.

python -m reidscope_site.synthetic --out DIR --people N --site LABEL [--first-seed K] [--visits V]
                                   [--pet]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from reidscope_site.synthetic.people import write_people
from reidscope_site.synthetic.seeds import PersonSeed, Population


def main(
    out: Annotated[Path, typer.Option(help="folder to write")],
    people: Annotated[int, typer.Option(help="how many", min=1)],
    site: Annotated[str, typer.Option(help="the site's label")],
    first_seed: Annotated[int, typer.Option(help="number of the first person", min=0)] = 0,
    visits: Annotated[int, typer.Option(help="scans of each person", min=1, max=9)] = 1,
    *,
    pet: Annotated[bool, typer.Option("--pet", help="and a simulated PET, before the scans")] = (
        False
    ),
) -> None:
    """Write scans as DICOM, photographs, and the file that links both."""
    seeds = [
        PersonSeed(population=Population.SITE, label=site, number=number)
        for number in range(first_seed, first_seed + people)
    ]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("synthetic people", total=people)
        write_people(
            out, seeds, visits=visits, pet=pet, written=lambda _seed: progress.advance(task)
        )


if __name__ == "__main__":
    typer.run(main)
