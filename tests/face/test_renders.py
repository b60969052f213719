"""Many renders of one scan: views, lights, fusion, grey."""

from __future__ import annotations

import numpy as np
import pytest

from reidscope_protocols.face_experiment import Renders
from reidscope_protocols.vocabulary import Fusion
from reidscope_site.face.describe import describe_head, describe_photo, grey, take_in
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.skin import face_picture, face_pictures, lights, views
from reidscope_site.face.volume import Volume


@pytest.mark.parametrize("count", [1, 3, 9])
def test_views_are_different_rotations_and_the_first_is_from_the_front(count: int) -> None:
    turns = views(count)
    assert len(turns) == count
    assert np.array_equal(turns[0], np.eye(3))
    assert len({turn.tobytes() for turn in turns}) == count
    for turn in turns:
        assert np.allclose(turn @ turn.T, np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_lights_come_from_different_sides(count: int) -> None:
    assert len({look.lamps[0].towards for look in lights(count)}) == count


def test_a_grey_picture_has_one_shade_a_pixel(picture: np.ndarray) -> None:
    shades = grey(picture)
    assert shades.shape == picture.shape
    assert (shades == shades[..., :1]).all()
    assert np.array_equal(grey(shades), shades)


@pytest.mark.slow
def test_nine_views_in_nine_lights_are_eighty_one_pictures_of_one_face(
    head_scan: Volume, recogniser: Recogniser
) -> None:
    head = take_in(head_scan)
    assert head is not None
    plan = Renders(views=9, lights=9)
    pictures = list(face_pictures(head.volume, head.registration, plan))
    assert len(pictures) == 81
    assert len({picture.tobytes() for picture in pictures}) == 81
    single = face_picture(head.volume, head.registration)
    (again,) = face_pictures(head.volume, head.registration, Renders())
    assert np.array_equal(single, again)
    best = describe_head(head, recogniser, plan.model_copy(update={"fusion": Fusion.BEST}))
    mean = describe_head(head, recogniser, plan)
    assert best is not None
    assert mean is not None
    # the detector may miss an odd one; what it found is averaged, in one row
    assert 60 <= len(best.values) <= 81
    assert mean.values.shape == (1, recogniser.dimension)
    assert np.allclose(mean.values[0], best.values.mean(0), atol=1e-5)


@pytest.mark.slow
def test_a_face_in_grey_is_described_without_its_colours(
    picture: np.ndarray, recogniser: Recogniser
) -> None:
    coloured = describe_photo(picture, recogniser, Renders(grey=True))
    already_grey = describe_photo(grey(picture), recogniser, Renders())
    assert coloured is not None
    assert already_grey is not None
    assert np.array_equal(coloured.values, already_grey.values)
