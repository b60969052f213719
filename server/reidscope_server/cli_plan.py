"""`reidscope-server study plan`: every interval's width to come, and what else could narrow it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from reidscope_protocols import comma_lists
from reidscope_protocols.errors import InputError, RefusalError
from reidscope_protocols.privacy import NANO, PrivacyLoss
from reidscope_protocols.study import Study
from reidscope_protocols.terminal import say, show_json, show_table
from reidscope_server.mechanisms import DELTA, MechanismChoice
from reidscope_server.planning import (
    WIDEST_POINTS,
    Expected,
    PlannedWidth,
    mechanisms,
    plan,
    too_wide,
)
from reidscope_server.planning_groups import rows_of_groups

_MOST_SITES = 10_000
_BESIDE = {"failed gates": "failed_gates", "damage": "lost_1_percent"}


def plan_command(
    draft_file: Annotated[
        Path, typer.Argument(metavar="DRAFT", help="A study from `study new`.", dir_okay=False)
    ],
    *,
    people: Annotated[str, typer.Option(help="People a site, separated by commas.")],
    sites: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST_SITES, help="So many sites of the one size in --people."),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM=SHARE",
            help="Share expected to be found, such as blur=0.1 or unmodified@1000=0.6; again for "
            "each arm. Without it a half, the widest; a defacer hides everybody.",
        ),
    ] = None,
    rehearsed: Annotated[
        Path | None,
        typer.Option(
            help="Rates from `reidscope-site rehearse STUDY --json`; --rate goes before them.",
            dir_okay=False,
        ),
    ] = None,
    epsilon: Annotated[
        str,
        typer.Option(help="What if the whole study had this epsilon, split as in the draft?"),
    ] = "",
    colluders: Annotated[
        int, typer.Option(min=0, help="Sites against the others that a secure sum must bear.")
    ] = 0,
    delta: Annotated[
        float, typer.Option(help="Of the discrete Gaussian noise that is compared.")
    ] = DELTA,
    widest: Annotated[
        float, typer.Option(help="Half width that is refused beyond, percentage points.")
    ] = WIDEST_POINTS,
    shares: Annotated[
        str,
        typer.Option(
            "--group-shares",
            help="Share of people in each group, in the study's order, such as 50%,45%; alike if "
            "absent.",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Accept wide intervals.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say how wide every interval will be; refuse a study that would answer nothing.

    Failed gates, damage and groups are shown and never refused for: they warn. Rehearse the study
    on public people first: that costs no epsilon.
    """
    if not widest > 0:
        raise InputError(
            "widest", got="no positive number", expected="such as 15", do="correct --widest"
        )
    study = Study.parse(draft_file.read_bytes())
    sizes = _sizes(people, sites)
    if epsilon:
        study = _at(study, PrivacyLoss.asked_for(epsilon))
    there = Expected() if rehearsed is None else _rehearsed(rehearsed, study)
    expected = Expected(
        rates={**there.rates, **_typed(rate or [])}, beside=there.beside, colluders=colluders
    )
    planned = plan(study, sizes, expected, delta=delta)
    by_group = rows_of_groups(study, sizes, shares)
    choice = mechanisms(study, delta=delta)
    beyond = too_wide(planned, widest_points=widest)
    if as_json:
        show_json(_as_json(study, sizes, planned, choice, widest=widest, by_group=by_group))
    else:
        _show(study, sizes, planned, choice)
        _show_groups(by_group)
    if beyond and not force:
        worst = max(beyond, key=lambda width: width.half_width_points)
        raise RefusalError(
            "plan",
            got=f"a half-width of {worst.half_width_points:.1f} points"
            f" ({worst.kind} of {worst.arm})",
            expected=f"at most {widest:g}",
            do="ask more people or sites, fewer arms, or a larger epsilon; or give --force",
        )


def width_to_come(study: Study) -> str:
    """Return one line: the widest rate if every site has only the people that the study demands."""
    each, sites = study.minimum_declared_people, len(study.audience)
    rates = [width for width in plan(study, [each] * sites) if width.kind == "rate"]
    points = max(width.half_width_points for width in rates)
    hint = "; see `study plan`" if points > WIDEST_POINTS else ""
    return (
        f"rates will be known to {points:.1f} points or better from {sites} sites of the"
        f" {each} people that are demanded{hint}"
    )


def _sizes(people: str, sites: int | None) -> tuple[int, ...]:
    sizes = comma_lists.whole_numbers(people, "people")
    if sites is None:
        return sizes
    if len(sizes) != 1:
        raise InputError(
            "people",
            got=f"{len(sizes)} sizes beside --sites",
            expected="one size that every site has",
            do="leave out --sites, or give one size",
        )
    return sizes * sites


def _typed(words: list[str]) -> dict[str, float]:
    rates: dict[str, float] = {}
    for word in words:
        column, _, share = word.rpartition("=")
        try:
            rates[column] = float(share)
        except ValueError:
            column = ""
        if not column:
            raise InputError(
                "rate",
                got="something that is no ARM=SHARE",
                expected="such as quickshear=0.1",
                do="correct --rate",
            )
    return rates


def _at(study: Study, loss: PrivacyLoss) -> Study:
    """Return the study at another price: every table keeps its part of it."""
    tables = tuple(
        table.model_copy(
            update={"epsilon_nano": max(1, table.epsilon_nano * loss.nano // study.loss.nano)}
        )
        for table in study.tables
    )
    return study.model_copy(update={"tables": tables})


def _rehearsed(path: Path, study: Study) -> Expected:
    first = study.experiment.attackers[0]
    try:
        rows = json.loads(path.read_bytes())["rates"]
        return Expected(
            rates={
                (row["arm"] if row["attacker"] == first else f"{row['arm']}/{row['attacker']}")
                + f"@{int(row['gallery'])}": float(row["rank_1"])
                for row in rows
            },
            beside={
                (kind, row["arm"]): float(row[field])
                for row in rows
                for kind, field in _BESIDE.items()
                if row.get(field) is not None
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "rehearsal",
            got="a file without rates",
            expected="what `reidscope-site rehearse STUDY --json` prints",
            do="correct --rehearsed",
        ) from None


def _show(
    study: Study, sizes: tuple[int, ...], planned: tuple[PlannedWidth, ...], choice: MechanismChoice
) -> None:
    columns = ("kind", "arm", "gallery", "at", "±", "± Gauss", "± sum")
    rows = [
        [
            row.kind,
            row.arm,
            "" if row.gallery_size is None else row.gallery_size,
            f"{100 * row.rate:.0f}%",
            f"{row.half_width_points:.1f}",
            f"{row.gaussian_points:.1f}",
            f"{row.distributed_points:.1f}" + ("*" if row.distributed_pays else ""),
        ]
        for row in planned
    ]
    show_table(
        f"{study.study_id}: half widths of 95% intervals to come, percentage points;"
        f" sites: {len(sizes)}, people: {sum(sizes)}",
        columns,
        rows,
    )
    say("±: as studies are released; ± Gauss, ± sum: with the noise that is compared below")
    say(_of_mechanisms(choice))
    say(_of_distribution(study, sizes, planned))


def _show_groups(rows: list[dict[str, Any]]) -> None:
    if rows:
        show_table("each group alone", tuple(rows[0]), [list(row.values()) for row in rows])


def _of_mechanisms(choice: MechanismChoice) -> str:
    from_tables = (
        f"from {choice.gaussian_from} equal tables on"
        if choice.gaussian_from is not None
        else "for no number of tables that a study can have"
    )
    return (
        f"mechanism: {choice.narrower} is narrower; at epsilon {choice.epsilon_nano / NANO:g} and"
        f" delta {choice.delta:g} discrete Gaussian noise (zCDP, rho {choice.rho:.3g}) is"
        f" {choice.factor:.2f} times the Laplace; it would be narrower {from_tables}"
    )


def _of_distribution(
    study: Study, sizes: tuple[int, ...], planned: tuple[PlannedWidth, ...]
) -> str:
    if len(sizes) == 1:
        return "distributed noise: one site alone has nobody to share its noise with"
    asked = [row for row in planned if row.gallery_size is not None]
    paid = [f"{row.kind} of {row.arm}" for row in asked if row.distributed_pays]
    joint = f"{study.joint_table.loss}"
    if not paid:
        return (
            f"distributed noise: would not pay; at epsilon {joint} the sampling of people outweighs"
            " the sites' own noise in every rate"
        )
    return (
        f"distributed noise: would pay (*) for {len(paid)} of {len(asked)} rates and differences,"
        " where"
        f" the sites' own noise (epsilon {joint}) outweighs the sampling of people; it needs the"
        " secure sum, and trust in the other sites"
    )


def _as_json(
    study: Study,
    sizes: tuple[int, ...],
    planned: tuple[PlannedWidth, ...],
    choice: MechanismChoice,
    *,
    widest: float,
    by_group: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "study": study.study_id,
        "sites": len(sizes),
        "people": sum(sizes),
        "widest_points": widest,
        "too_wide": bool(too_wide(planned, widest_points=widest)),
        "intervals": [
            {
                "kind": row.kind,
                "arm": row.arm,
                "gallery": row.gallery_size,
                "planned_for": round(row.rate, 4),
                "half_width_points": round(row.half_width_points, 2),
                "gaussian_points": round(row.gaussian_points, 2),
                "distributed_points": round(row.distributed_points, 2),
                "distributed_pays": row.distributed_pays,
            }
            for row in planned
        ]
        + by_group,
        "mechanism": {
            "narrower": choice.narrower,
            "epsilon": choice.epsilon_nano / NANO,
            "delta": choice.delta,
            "rho": choice.rho,
            "gaussian_over_laplace": round(choice.factor, 3),
            "gaussian_narrower_from_tables": choice.gaussian_from,
            "tables": [
                {
                    "table": table.table,
                    "cells": table.cells,
                    "epsilon": table.epsilon_nano / NANO,
                    "laplace_sd": round(table.laplace_sd, 3),
                    "gaussian_sd": round(table.gaussian_sd, 3),
                }
                for table in choice.tables
            ],
        },
    }
