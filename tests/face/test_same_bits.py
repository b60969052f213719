"""What is left out of a computation changes no bit of what is computed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from reidscope_protocols.recogniser import SFACE
from reidscope_site.face.average import box_of
from reidscope_site.face.raycast import Camera, GridSurface, look_at, turned
from reidscope_site.face.recognisers.onnx_network import OnnxNetwork, trimmed
from reidscope_site.face.recognisers.onnx_weights import unpacked
from reidscope_site.face.regions import in_scan
from reidscope_site.face.register import Registration
from reidscope_site.face.volume import reached, resampled, resampled_at
from reidscope_site.face.weights import models_of

POSES = st.tuples(
    st.tuples(*[st.floats(-2, 2)] * 3), st.tuples(*[st.floats(-30, 30)] * 3), st.floats(0.6, 1.7)
)
SEEDS = st.integers(0, 2**16)


def pose(turn: tuple[float, ...], shift: tuple[float, ...], size: float) -> np.ndarray:
    onto = np.eye(4)
    onto[:3, :3] = size * Rotation.from_rotvec(turn).as_matrix()
    onto[:3, 3] = shift
    return onto


def region(seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Make a block of ones and a few single voxels, in a volume of zeros; at times nothing."""
    draw = np.random.default_rng(seed)
    voxels = np.zeros(shape, np.float32)
    if seed % 7:
        low = draw.integers(0, np.array(shape) - 3)
        block = tuple(slice(int(a), int(a) + int(draw.integers(1, 9))) for a in low)
        voxels[block] = 1
    if seed % 3 == 0:
        voxels[tuple(draw.integers(0, shape, (4, 3)).T)] = draw.normal(size=4)
    return torch.from_numpy(voxels)


def everywhere(voxels: torch.Tensor, onto: np.ndarray, shape: tuple[int, int, int]) -> torch.Tensor:
    """Resample with nothing left out."""
    matrix = torch.tensor(onto, dtype=torch.float32)
    scale = 2 / (torch.tensor(voxels.shape, dtype=torch.float32) - 1).clamp(min=1)
    j, k = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape[1:]], indexing="ij")
    plane = torch.stack([j, k], -1) @ matrix[:3, 1:3].T + matrix[:3, 3]
    where = torch.stack([((plane + i * matrix[:3, 0]) * scale - 1) for i in range(shape[0])])
    return F.grid_sample(voxels[None, None], where.flip(-1)[None], align_corners=True)[0, 0]


@settings(max_examples=60)
@given(placed=POSES, seed=SEEDS)
def test_a_volume_is_resampled_where_it_reaches_and_is_0_elsewhere(
    placed: tuple[tuple[float, ...], tuple[float, ...], float], seed: int
) -> None:
    onto, voxels, shape = pose(*placed), region(seed, (20, 24, 17)), (19, 31, 23)
    whole = everywhere(voxels, onto, shape)
    assert torch.equal(resampled(voxels, onto, shape), whole)
    box = reached(voxels, onto, shape)
    outside = whole.clone()
    outside[box] = 0
    assert not outside.any()
    second = torch.from_numpy(np.random.default_rng(seed).integers(0, shape[1], (19, 23)))
    columns = torch.gather(whole, 1, second[:, None])[:, 0]
    assert torch.equal(resampled_at(voxels, onto, shape, second), columns)


@pytest.mark.parametrize("onto", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_grid_without_a_place_is_looked_at_everywhere(onto: np.ndarray) -> None:
    shape = (4, 5, 6)
    assert reached(torch.ones(3, 3, 3), onto, shape) == tuple(slice(0, n) for n in shape)


@settings(max_examples=40)
@given(placed=POSES, seed=SEEDS)
def test_a_region_lies_in_a_scan_as_if_all_of_the_scan_were_looked_at(
    placed: tuple[tuple[float, ...], tuple[float, ...], float], seed: int
) -> None:
    onto, part, shape = pose(*placed), region(seed, (20, 24, 17)).abs(), (21, 26, 19)
    cells = tuple(-(-n // 2) + 1 for n in shape)
    coarse = everywhere(part, onto @ np.diag([2, 2, 2, 1.0]), cells)
    full = tuple((n - 1) * 2 + 1 for n in cells)
    fine = F.interpolate(coarse[None, None], size=full, mode="trilinear", align_corners=True)[0, 0]
    expected = fine[: shape[0], : shape[1], : shape[2]].numpy() > 0.5
    found = in_scan(part, Registration(to_template=onto, ncc=1.0), shape)
    assert np.array_equal(found, expected)


@settings(max_examples=25)
@given(seed=SEEDS, yaw=st.floats(-90, 90), pitch=st.floats(-90, 90))
def test_rays_that_skip_what_is_clear_meet_the_skin_where_the_others_do(
    seed: int, yaw: float, pitch: float
) -> None:
    draw = np.random.default_rng(seed)
    voxels = np.abs(draw.normal(size=(60, 70, 65))).astype(np.float32) * 0.2
    for centre in draw.uniform(10, 50, (3, 3)):
        i, j, k = np.indices(voxels.shape)
        distance = np.sqrt(sum((a - c) ** 2 for a, c in zip((i, j, k), centre, strict=True)))
        voxels += np.clip(draw.uniform(1, 14) - distance, 0, 3).astype(np.float32)
    smooth = torch.from_numpy(voxels)
    camera = Camera(
        target_mm=(30, 35, 32), turn=turned(yaw=yaw, pitch=pitch), width_mm=90, size_px=64
    )
    plain, quick = GridSurface(voxels=smooth, level=1.0), GridSurface.of(smooth, 1.0)
    assert quick.clear is not None
    one, other = look_at(plain, camera), look_at(quick, camera)
    assert torch.equal(one.hit, other.hit)
    assert torch.equal(one.points, other.points)
    assert torch.equal(one.normals, other.normals)


@pytest.mark.parametrize("level", [0.0, -1.0, 2.0])
def test_where_nothing_is_known_nothing_is_skipped(level: float) -> None:
    surface = GridSurface.of(torch.ones(9, 9, 9), level)
    assert surface.clear is None
    assert not surface.empty_mm(torch.rand(5, 3)).any()


@given(seed=SEEDS, margin=st.integers(0, 3))
def test_a_box_holds_its_region_and_no_more(seed: int, margin: int) -> None:
    filled = region(seed, (12, 13, 14)).numpy() != 0
    box = box_of(filled, margin=margin)
    if box is None:
        assert not filled.any()
        return
    for side, where, size in zip(box, np.nonzero(filled), filled.shape, strict=True):
        assert side.start == max(0, where.min() - margin)
        assert side.stop == min(size, where.max() + 1 + margin)


def test_sface_gives_the_same_bits_with_its_weights_made_once() -> None:
    part = SFACE.parts[0]
    content = models_of(SFACE)[part.sha256]
    network = OnnxNetwork(content, part)
    whole = session(trimmed(content, part))
    name = whole.get_inputs()[0].name
    _, weights = unpacked(onnx.load_from_string(trimmed(content, part)))
    assert len(weights) > 20
    draw = np.random.default_rng(1)
    for _ in range(3):
        blob = draw.integers(0, 256, (1, 3, 112, 112)).astype(np.float32)
        assert network.describe(blob).tobytes() == whole.run(None, {name: blob})[0].tobytes()


@pytest.mark.parametrize("takes", ["Conv", "QuantizeLinear", "MatMul"])
def test_weights_are_made_once_only_where_nothing_could_be_fused_with_them(takes: str) -> None:
    model = quantised_graph(takes)
    graph, weights = unpacked(onnx.load_from_string(model.SerializeToString()))
    assert bool(weights) is (takes == "Conv")
    if not weights:
        assert graph == model.SerializeToString()
        return
    blob = np.random.default_rng(0).normal(size=(1, 2, 8, 8)).astype(np.float32)
    (before,) = session(model.SerializeToString()).run(None, {"x": blob})
    (after,) = session(graph).run(None, {"x": blob, **weights})
    assert before.tobytes() == after.tobytes()


def session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def quantised_graph(takes: str) -> onnx.ModelProto:
    """Make a graph of one operator that takes weights of 8 bits."""
    helper, kinds = onnx.helper, onnx.TensorProto
    draw = np.random.default_rng(0)
    shape = {"Conv": (3, 2, 3, 3)}.get(takes, (8, 8))
    weights = draw.integers(-128, 128, shape).astype(np.int8)
    inputs = ["w"] if takes == "QuantizeLinear" else ["x", "w"]
    extra = ["scale"] if takes == "QuantizeLinear" else []
    kind = kinds.UINT8 if takes == "QuantizeLinear" else kinds.FLOAT
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
                helper.make_node(takes, [*inputs, *extra], ["y"]),
            ],
            "one",
            [helper.make_tensor_value_info("x", kinds.FLOAT, (1, 2, 8, 8))],
            [helper.make_tensor_value_info("y", kind, None)],
            [
                onnx.numpy_helper.from_array(weights, "q"),
                onnx.numpy_helper.from_array(np.array(0.02, np.float32), "scale"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
