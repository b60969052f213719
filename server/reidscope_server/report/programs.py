"""Which programs of others made a study's external arms, site by site, as the Releases say."""

from __future__ import annotations

from collections.abc import Sequence

from reidscope_protocols.programs import ProgramSaid, external
from reidscope_protocols.report import ReportedProgram
from reidscope_protocols.secure_sum import MaskedRelease
from reidscope_protocols.statements import Release
from reidscope_protocols.study import Study


def programs(
    study: Study, signed: Sequence[Release | MaskedRelease]
) -> tuple[ReportedProgram, ...]:
    """Read every site's word, arm by arm; what is not of the agreed form is not repeated."""
    return tuple(
        ReportedProgram(
            arm=arm,
            site=release.site,
            said=ProgramSaid.read(release.versions.get(arm, "")),
        )
        for arm in external(study.experiment.arms)
        for release in signed
    )


def differing(rows: Sequence[ReportedProgram]) -> tuple[str, ...]:
    """Arms that were not the same program, called in the same way, at all sites."""
    arms = dict.fromkeys(row.arm for row in rows)
    return tuple(
        arm
        for arm in arms
        if None in (said := {row.said for row in rows if row.arm == arm}) or len(said) > 1
    )
