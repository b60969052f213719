"""A study to start from, for every area: a small, valid one that a test bends as it likes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings

from reidscope_protocols.cohort import Cohort
from reidscope_protocols.face_experiment import FaceExperiment, GalleryError
from reidscope_protocols.privacy import PrivacyLoss
from reidscope_protocols.recogniser import SFACE
from reidscope_protocols.study import (
    Constant,
    FiveSafes,
    Study,
    priced,
)
from reidscope_protocols.vocabulary import ConstantRole

# no test asserts a time: a busy machine fails none
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

MakeStudy = Callable[..., Study]
SHA256 = {
    ConstantRole.DETECTOR: SFACE.detector.sha256,
    ConstantRole.RECOGNISER: SFACE.parts[0].sha256,
}


@pytest.fixture(scope="session")
def make_study() -> MakeStudy:
    def build(
        *,
        sites: tuple[str, ...] = ("north",),
        anchors: tuple[int, ...] = (2,),
        arms: tuple[str, ...] = ("unmodified", "blur"),
        epsilon: str = "1",
        asked: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Study:
        opened = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        experiment = FaceExperiment(
            **{
                "recogniser": SFACE,
                "anchors": anchors,
                "arms": arms,
                "reference_size": 100_000,
                "reference_people": "synthetic people",
                "gallery_error": tuple(GalleryError(gallery_size=n, sigma_ppm=1) for n in anchors),
                **(asked or {}),
            }
        )
        sentence = "A sentence for whoever approves."
        fields: dict[str, Any] = {
            "audience": sites,
            "issued_at": opened,
            "not_after": opened + timedelta(days=60),
            "study_id": "faces-1",
            "title": "Faces in head scans",
            "question": "How many people are found?",
            "population": "synthetic people",
            "five_safes": FiveSafes(
                project=sentence,
                people=sentence,
                settings=sentence,
                data=sentence,
                outputs=sentence,
            ),
            "cohort": Cohort(),
            "experiment": experiment,
            "constants": tuple(
                Constant(role=role, sha256=SHA256.get(role, f"{number:064x}"), size_bytes=10)
                for number, role in enumerate(ConstantRole)
            ),
            "tables": priced(experiment, PrivacyLoss.from_decimal(epsilon)),
            "minimum_declared_people": 10,
            "minimum_sites": 1,
            "opens_at": opened,
            "closes_at": opened + timedelta(days=30),
        }
        return Study(**{**fields, **changes})

    return build
