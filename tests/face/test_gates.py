"""Gates: what may be called defaced, and what may not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reidscope_site.face.arms import ARMS
from reidscope_site.face.gates import Gates, check
from reidscope_site.face.intent import Intent
from reidscope_site.face.recognise import Recogniser
from reidscope_site.face.register import Registration, register
from reidscope_site.face.template import Template
from reidscope_site.face.volume import Volume

THERE = Registration(to_template=np.eye(4), ncc=1.0)
GOOD = Gates(
    skin_left=0.0, brain_changed=0.0, replaced=1.0, averaged=1.0, rewritten=1.0, ncc=1.0,
    seen=1.0, relief=1.0,
)  # fmt: skip
SHARE = st.floats(0, 1)


@pytest.fixture(scope="module")
def average(head: Template) -> Volume:
    torch.set_num_threads(1)
    return Volume(voxels=head.head.numpy(), spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


@pytest.fixture(scope="module")
def registered(head_scan: Volume) -> Registration:
    torch.set_num_threads(1)
    return register(head_scan)


def judged(scan: Volume, registration: Registration, name: str, intent: Intent) -> Gates:
    return check(scan, ARMS[name].apply(scan, registration), registration, intent=intent)


@pytest.mark.slow
def test_a_face_that_was_cut_is_gone_and_one_that_was_replaced_is_not(
    head_scan: Volume, registered: Registration
) -> None:
    assert judged(head_scan, registered, "facemask", Intent.REMOVED).passed
    refaced = judged(head_scan, registered, "reface", Intent.REMOVED)
    assert refaced.skin_left > 0.9
    assert not refaced.passed
    assert replace(refaced, intent=Intent.AVERAGED).passed
    assert refaced.brain_changed == 0


@pytest.mark.parametrize("intent", list(Intent))
def test_a_scan_that_nobody_touched_passes_as_nothing(average: Volume, intent: Intent) -> None:
    # the average face itself lies exactly where a replacer would have put it
    gates = check(average, average, THERE, intent=intent)
    assert gates.registered
    assert gates.face_there
    assert gates.averaged > 0.9
    assert gates.rewritten == 0
    assert not gates.passed


def test_another_face_in_place_passes_as_replaced(average: Volume, head: Template) -> None:
    swollen = average.voxels.copy()
    swollen[:, 4:, :160] = np.maximum(swollen[:, 4:, :160], average.voxels[:, :-4, :160] + 5)
    brain = head.brain.numpy()
    swollen[brain] = average.voxels[brain]
    gates = check(average, replace(average, voxels=swollen), THERE, intent=Intent.REPLACED)
    assert gates.replaced > 0.5
    assert gates.brain_changed < 0.001
    assert gates.passed
    assert not replace(gates, intent=Intent.REMOVED).passed


def test_a_defacer_that_dims_the_brain_does_not_pass(average: Volume) -> None:
    cut = ARMS["facemask"].apply(average, THERE)
    assert check(average, cut, THERE).passed
    gates = check(average, replace(cut, voxels=cut.voxels * np.float32(0.98)), THERE)
    assert gates.face_gone
    assert gates.brain_changed > 0.9
    assert not gates.passed


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_where_there_is_no_head_nothing_passes(offset: float) -> None:
    nothing = Volume(
        voxels=np.zeros((60, 60, 60), np.float32), spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4)
    )
    beside = np.eye(4)
    beside[:3, 3] = offset
    gates = check(nothing, nothing, Registration(to_template=beside, ncc=1.0))
    assert not gates.face_there
    assert not gates.passed


def test_a_face_outside_the_field_of_view_does_not_pass(average: Volume) -> None:
    behind = replace(average, voxels=np.ascontiguousarray(average.voxels[:, :180]))
    gates = check(behind, behind, THERE)
    assert gates.seen < 0.1
    assert not gates.passed


@given(st.sampled_from(Intent), SHARE, SHARE, SHARE, SHARE, SHARE, SHARE, SHARE, st.floats(-1, 1))
def test_one_gate_that_does_not_hold_is_enough(  # noqa: PLR0917  # one measure each
    intent: Intent,
    left: float,
    brain: float,
    replaced: float,
    averaged: float,
    rewritten: float,
    ncc: float,
    seen: float,
    relief: float,
) -> None:
    gates = Gates(
        skin_left=left, brain_changed=brain, intent=intent, replaced=replaced, averaged=averaged,
        rewritten=rewritten, ncc=ncc, seen=seen, relief=relief,
    )  # fmt: skip
    held = (gates.registered, gates.face_there, gates.face_gone, gates.brain_whole)
    assert gates.passed == all(held)
    assert replace(gates, ncc=0.0).passed is False


@pytest.mark.parametrize(
    "worse",
    [{"ncc": 0.8}, {"size": 0.7}, {"size": 1.4}, {"stretch": 1.4}, {"seen": 0.7},
     {"relief": 0.4}, {"skin_left": 0.21}, {"brain_changed": 0.002}],
)  # fmt: skip
def test_each_measure_has_a_gate(worse: dict[str, float]) -> None:
    assert GOOD.passed
    assert not replace(GOOD, **worse).passed  # type: ignore[arg-type]  # all are floats


@pytest.mark.slow
def test_what_the_detector_says_is_kept_and_is_no_gate(
    average: Volume, recogniser: Recogniser
) -> None:
    cut = ARMS["facemask"].apply(average, THERE)
    gates = check(average, cut, THERE, detector=recogniser._detector)
    assert gates.detected is not None
    before, after = gates.detected
    assert before > 0.5
    assert 0 <= after <= 1
    assert gates.passed == replace(gates, detected=None).passed
