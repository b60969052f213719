"""Building public constants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidscope_protocols.errors import InvariantError
from reidscope_site.face.compare import quantised
from reidscope_site.face.evaluate import classify, load_constants, read_faces
from reidscope_site.face.weights import installed_model_bytes
from reidscope_site.reference.build import Plan, build_reference
from reidscope_site.reference.gallery_error import sigma_gallery
from reidscope_site.reference.rows import RowFile
from reidscope_site.synthetic.people import make_person
from reidscope_site.synthetic.seeds import PersonSeed, Population


@settings(max_examples=20)
@given(rows=st.integers(0, 5), torn=st.integers(0, 11))
def test_a_row_that_was_torn_is_made_again(
    tmp_path_factory: pytest.TempPathFactory, rows: int, torn: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.f32"
    written = np.random.default_rng(0).normal(size=(rows + 1, 3)).astype(np.float32)
    file = RowFile(path, 3)
    for row in written[:rows]:
        file.append(row)
    with path.open("ab") as stream:
        stream.write(written[rows].tobytes()[:torn])
    again = RowFile(path, 3)
    assert len(again) == rows
    again.append(written[rows])
    assert np.array_equal(again.read(), written)


def test_a_row_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvariantError):
        RowFile(tmp_path / "rows.f32", 3).append(np.zeros(4, np.float32))


def test_a_larger_gallery_has_less_luck() -> None:
    draw = np.random.default_rng(0)

    def faces(count: int) -> np.ndarray:
        return quantised(draw.normal(size=(count, 32)).astype(np.float32), np.zeros(32, np.float32))

    mates = faces(60)
    noise = draw.integers(-90, 91, mates.shape)
    probes = np.clip(mates.astype(int) + noise, -127, 127).astype(np.int8)
    small = sigma_gallery(probes, mates, faces(300), (30,), resamplings=60)[30]
    large = sigma_gallery(probes, mates, faces(6000), (30,), resamplings=60)[30]
    # the error falls with the square root of M, here by 4.5
    assert 0 < large < small / 2


def test_a_gallery_that_nobody_is_beaten_by_has_no_error() -> None:
    mates = np.full((5, 8), 127, np.int8)
    gallery = np.full((50, 8), -127, np.int8)
    assert sigma_gallery(mates, mates, gallery, (5, 10), resamplings=5) == {5: 0.0, 10: 0.0}


@pytest.mark.slow
def test_a_small_reference_is_built_resumed_and_used(tmp_path: Path) -> None:
    plan = Plan(size=12, anchors=(3, 6), calibration_photos=4, calibration_people=2, probe_people=2)
    for folder in ("work", "one", "two"):
        (tmp_path / folder).mkdir()
    told: list[str] = []
    built = build_reference(
        tmp_path / "one",
        plan,
        workspace=tmp_path / "work",
        progress=lambda what, _have, _wanted: told.append(what),
    )
    assert len(told) == 12 + built.without_face + 4 + 2 + 2
    told.clear()
    again = build_reference(
        tmp_path / "two",
        plan,
        workspace=tmp_path / "work",
        progress=lambda what, _have, _wanted: told.append(what),
    )
    assert (again, told) == (built, [])
    assert (tmp_path / "one/gallery.npy").read_bytes() == built.gallery
    facts = json.loads((tmp_path / "one/calibration.json").read_bytes())
    assert set(facts["means"]) == {"photo", "unmodified", "blur", "facemask", "quickshear"}
    assert set(facts["sigma_gallery"]) == {"3", "6"}

    weights = installed_model_bytes()
    constants = load_constants(
        built.gallery, built.calibration, weights.detector, weights.recogniser, (3, 6), plan.arms
    )
    assert constants.gallery.shape == (12, facts["dimension"])
    assert constants.means["photo"].tolist() == facts["means"]["photo"]
    person = make_person(PersonSeed(population=Population.SITE, label="mercy", number=0))
    reading = classify(read_faces(person.scan, person.photos[0], constants), constants, 2**-64)
    assert reading.acquired
    assert reading.found_at == 6
