"""The good statements, written down by hand: nothing here asks the code under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reidscope_protocols.recogniser import SFACE, SFACE_AND_DLIB

HASH = "ab" * 32
HEADER = {"issued_at": "2026-01-01T00:00:00Z", "not_after": "2026-12-01T00:00:00Z"}
CONSTANTS = {
    "reference-gallery": f"{0:064x}",
    "calibration": f"{1:064x}",
    "detector": SFACE.detector.sha256,
    "recogniser": SFACE.parts[0].sha256,
    "template": f"{4:064x}",
}
NOWHERE = "not acquired"


def study(**asked: Any) -> dict[str, Any]:
    """Write the good study down; `asked` replaces fields of its experiment, and tables follow."""
    experiment = {
        "kind": "face-identification",
        "mate": "photo",
        "direction": "sample-to-population",
        "attackers": ["calibrated"],
        "scan_rule": "first-by-date",
        "scan_cap": 1,
        "failed_gate": "not-released",
        "renders": {"views": 1, "lights": 1, "fusion": "mean", "grey": False},
        "recogniser": SFACE.model_dump(mode="json"),
        "anchors": [100, 1000],
        "arms": ["unmodified", "blur", "quickshear"],
        "damage_arms": [],
        "reference_size": 100000,
        "reference_people": "synthetic people",
        "gallery_error": [
            {"gallery_size": 100, "sigma_ppm": 3000},
            {"gallery_size": 1000, "sigma_ppm": 9000},
        ],
        **asked,
    }
    return {
        "schema": "reidscope.study/2.0",
        "audience": ["north", "south"],
        **HEADER,
        "study_id": "faces-1",
        "title": "Faces in head scans",
        "question": "How many people are found?",
        "population": "patients",
        "five_safes": dict.fromkeys(
            ("project", "people", "settings", "data", "outputs"), "A sentence."
        ),
        "cohort": {"rule": "everyone-indexed"},
        "experiment": experiment,
        "constants": [
            {"role": role, "sha256": sha256, "size_bytes": None if number > 1 else 10}
            for number, (role, sha256) in enumerate(CONSTANTS.items())
        ],
        "tables": tables(experiment),
        "minimum_declared_people": 20,
        "minimum_sites": 2,
        "opens_at": "2026-01-02T00:00:00Z",
        "closes_at": "2026-11-01T00:00:00Z",
        "ledger_heads": [{"site": "north", "ledger": {"sequence": 1, "head": HASH}}],
    }


def tables(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """Write the tables down that follow, without asking the code under test."""
    defacers = [arm for arm in experiment["arms"] if arm != "unmodified"]
    first, *others = experiment["attackers"]
    columns = [
        arm if attacker == first else f"{arm}/{attacker}"
        for arm in defacers
        for attacker in (first, *(other for other in others if other != first))
    ]
    found = ["unmodified=0", *(f"unmodified={size}" for size in experiment["anchors"])]
    joint = found
    for column in columns:
        joint = [f"{label};{column}={said}" for label in joint for said in ("no", "yes")]
    joint = [*joint, NOWHERE]
    if groups := experiment.get("groups"):
        named = [f"{groups['by']}={value}" for value in (*groups["values"], "other")]
        joint = [f"{group};{label}" for group in named for label in joint]
    gates = [""]
    for arm in defacers:
        gates = [f"{label};{arm}={said}" for label in gates for said in ("passed", "failed")]
    damage = ["none", "below 0.1%", "below 1%", "below 5%", "5% or more"]
    return [
        {"table": "face-joint", "cells": joint, "epsilon_nano": 1600000000},
        {
            "table": "face-gates",
            "cells": [*(label[1:] for label in gates), NOWHERE],
            "epsilon_nano": 400000000,
        },
        *(
            {
                "table": f"face-damage/{arm}",
                "cells": [*damage, NOWHERE],
                "epsilon_nano": 200000000,
            }
            for arm in experiment["damage_arms"]
        ),
    ]


def with_two_networks(**changed: str) -> dict[str, Any]:
    """Ask for two recognisers that are put together; `changed` names a constant otherwise."""
    said = study(recogniser=SFACE_AND_DLIB.model_dump(mode="json"))
    second = {"role": "recogniser", "sha256": SFACE_AND_DLIB.sha256s[2], "size_bytes": 10}
    said["constants"].append({**second, **changed})
    return said


def decision() -> dict[str, Any]:
    return {
        "schema": "reidscope.decision/1.0",
        "audience": ["coordinator"],
        **HEADER,
        "study_sha256": HASH,
        "site": "north",
        "verdict": "approved",
        "reason": "reviewed",
        "role": "data protection officer",
        "package_version": "0.1.0",
        "package_sha256": HASH,
        "policy_sha256": HASH,
        "nonce": "0" * 32,
    }


def release() -> dict[str, Any]:
    table = {
        "table": "face-joint",
        "counts": [3, -1, 0, 12],
        "epsilon_nano": 2000000000,
        "mechanism": "discrete-laplace",
        "scale": "0.5",
    }
    return {
        "schema": "reidscope.release/1.0",
        "audience": ["coordinator"],
        **HEADER,
        "study_sha256": HASH,
        "site": "north",
        "tables": [table],
        "declared_people": 84,
        "ledger": {"sequence": 1, "head": HASH},
        "versions": {"reidscope": "0.1.0"},
    }


def receipt() -> dict[str, Any]:
    return {
        "schema": "reidscope.receipt/1.0",
        "audience": ["north"],
        **HEADER,
        "study_sha256": HASH,
        "site": "north",
        "ledger": {"sequence": 1, "head": HASH},
        "counter": 1,
    }


def sum_keys() -> dict[str, Any]:
    return {
        "schema": "reidscope.sum-keys/1.0",
        "audience": ["world"],
        **HEADER,
        "study_sha256": HASH,
        "site": "north",
        "attempt": 1,
        "x25519": HASH,
    }


def sum_round() -> dict[str, Any]:
    return {
        "schema": "reidscope.sum-round/1.0",
        "audience": ["north", "south"],
        **HEADER,
        "study_sha256": HASH,
        "attempt": 2,
        "phase": "keys",
        "keys": [],
    }


def masked_release() -> dict[str, Any]:
    table = {
        "table": "face-joint",
        "words": "AAAAAAAAAAP//////////w==",  # 3 and 2^64 - 1
        "epsilon_nano": 1600000000,
        "alone_nano": 3206122512,
        "mechanism": "polya-share",
    }
    return {
        "schema": "reidscope.masked-release/1.0",
        "audience": ["coordinator"],
        **HEADER,
        "study_sha256": HASH,
        "site": "north",
        "attempt": 1,
        "round_sha256": HASH,
        "tables": [table],
        "declared_people": 84,
        "ledger": {"sequence": 1, "head": HASH},
        "versions": {"reidscope": "0.1.0"},
    }


def distributed(**changed: Any) -> dict[str, Any]:
    """Write a study down whose noise two sites share; `changed` replaces fields of its noise."""
    key = {"role": "site", "not_before": "2025-12-01T00:00:00Z"}
    until = {"not_after": "2027-12-01T00:00:00Z"}
    roster = [
        {**key, "site": site, "public": public * 32, **until}
        for site, public in (("north", "a1"), ("south", "b2"))
    ]
    noise = {"colluders_tolerated": 0, "attempts": 2, "wait_minutes": 60, "roster": roster}
    return {**study(), "noise": {**noise, **changed}}


def without(said: dict[str, Any], table: int) -> dict[str, Any]:
    del said["tables"][table]
    return said


def constants(kept: slice, *again: int) -> dict[str, Any]:
    said = study()
    held = said["constants"]
    return {**said, "constants": [*held[kept], *(held[place] for place in again)]}


def named(**sha256s: str) -> dict[str, Any]:
    said = study()
    for constant in said["constants"]:
        constant["sha256"] = sha256s.get(constant["role"], constant["sha256"])
    return said


GOOD: dict[str, tuple[Callable[[], dict[str, Any]], str, str]] = {
    "study": (study, "study", "north"),
    "decision": (decision, "north", "coordinator"),
    "release": (release, "north", "coordinator"),
    "receipt": (receipt, "coordinator", "north"),
    "sum-keys": (sum_keys, "north", "world"),
    "sum-round": (sum_round, "coordinator", "north"),
    "masked-release": (masked_release, "north", "coordinator"),
}
