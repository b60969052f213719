"""Recognisers of one's own: what a study declares is loaded, anything else is refused."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reidscope_protocols.errors import ConstantMismatchError, MalformedError, UnsupportedError
from reidscope_protocols.recogniser import (
    DLIB_RESNET,
    SFACE,
    SFACE_AND_DLIB,
    YUNET,
    Alignment,
    Colour,
    Layout,
    NetworkFormat,
    Normalisation,
    RecogniserDeclaration,
    RecogniserPart,
)
from reidscope_site.face.align import crop
from reidscope_site.face.compare import quantised
from reidscope_site.face.recognise import Recogniser, load
from reidscope_site.face.recognisers.onnx_network import trimmed
from reidscope_site.face.template import Template
from reidscope_site.face.weights import installed_model_bytes, models_of
from reidscope_site.synthetic.photo import photo
from reidscope_site.synthetic.seeds import PersonSeed, Population

# PyTorch says at every call that TorchScript is to go; sites have such files all the same.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

Picture = NDArray[np.uint8]
DIMENSION = 24
PX = 64


class Small(torch.nn.Module):
    """A real network with weights of its own, small enough for a test."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = torch.nn.Conv2d(channels, 8, 5, stride=4)
        self.last = torch.nn.Linear(8 * 9, DIMENSION)
        with torch.no_grad():
            for weights in self.parameters():
                weights.copy_(torch.randn(weights.shape, generator=generator) * 0.1)

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        pooled = torch.nn.functional.avg_pool2d(torch.relu(self.first(face)), 5, stride=5)
        described: torch.Tensor = self.last(pooled.flatten(1))
        return described


def torchscript(module: torch.nn.Module, channels: int = 3) -> bytes:
    file = io.BytesIO()
    face = torch.zeros(1, channels, PX, PX)
    torch.jit.save(torch.jit.trace(module.eval(), face), file)  # type: ignore[no-untyped-call]
    return file.getvalue()


def scripted(module: torch.nn.Module) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), file)  # type: ignore[no-untyped-call]
    return file.getvalue()


def onnx_model(small: Small, **changes: list[int]) -> onnx.ModelProto:
    weights = {name: value.detach().numpy() for name, value in small.named_parameters()}
    nodes = [
        helper.make_node(
            "Conv", ["face", "first.weight", "first.bias"], ["c"], strides=[4, 4], name="conv"
        ),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[5, 5], strides=[5, 5]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "last.weight", "last.bias"], ["numbers"], transB=1),
    ]
    shape = changes.get("shape", [1, weights["first.weight"].shape[1], PX, PX])
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [1, DIMENSION])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def declared(content: bytes, form: NetworkFormat, **changes: object) -> RecogniserDeclaration:
    fields: dict[str, object] = {
        "format": form,
        "sha256": hashlib.sha256(content).hexdigest(),
        "input_px": PX,
        "colour": Colour.RGB,
        "normalisation": Normalisation(mean=(127.5,) * 3, scale=(1 / 128,) * 3),
        "layout": Layout.NCHW,
        "alignment": Alignment.ARCFACE,
        "distance": "cosine",
        "dimension": DIMENSION,
    }
    part = RecogniserPart.model_validate(fields | changes)
    return RecogniserDeclaration(name="our-own", detector=YUNET, parts=(part,))


def files(*contents: bytes) -> dict[str, bytes]:
    held = (installed_model_bytes().detector, *contents)
    return {hashlib.sha256(content).hexdigest(): content for content in held}


def loaded(content: bytes, form: NetworkFormat, **changes: object) -> Recogniser:
    return load(declared(content, form, **changes), files(content))


def numbers(recogniser: Recogniser, picture: Picture) -> NDArray[np.float32]:
    embedding = recogniser.embed_photo(picture).embedding
    assert embedding is not None
    return embedding.values


ONNX, TORCHSCRIPT = NetworkFormat.ONNX, NetworkFormat.TORCHSCRIPT


def test_sface_declared_as_ones_own_gives_the_built_in_bits(
    recogniser: Recogniser, picture: Picture
) -> None:
    ours = numbers(load(SFACE, models_of(SFACE)), picture)
    assert ours.tobytes() == numbers(recogniser, picture).tobytes()
    # and both give what ONNX Runtime gives by itself
    content = trimmed(installed_model_bytes().recogniser, SFACE.parts[0])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (face,) = recogniser._detector.faces(picture, min_score=0.6)
    aligned = crop(picture, face.landmarks).transpose(2, 0, 1)[None].astype(np.float32)
    assert session.run(None, {"data": aligned})[0].tobytes() == ours.tobytes()


def test_one_network_says_the_same_as_onnx_and_as_torchscript(picture: Picture) -> None:
    small = Small()
    by_onnx = loaded(onnx_model(small).SerializeToString(), ONNX)
    by_trace, by_script = (
        loaded(content, TORCHSCRIPT) for content in (torchscript(small), scripted(small))
    )
    expected = numbers(by_onnx, picture)
    assert by_onnx.dimension == len(expected) == DIMENSION
    for other in (by_trace, by_script):
        assert np.allclose(numbers(other, picture), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [ONNX, TORCHSCRIPT])
def test_a_network_of_ones_own_gives_the_same_bits_each_time(
    form: NetworkFormat, picture: Picture
) -> None:
    small = Small()
    content = onnx_model(small).SerializeToString() if form is ONNX else torchscript(small)
    one = loaded(content, form)
    again = loaded(content, form)
    bits = {numbers(held, picture).tobytes() for held in (one, one, one, one, again)}
    assert len(bits) == 1


def test_a_network_is_fed_as_it_is_declared(picture: Picture) -> None:
    content = torchscript(Small())
    rgb = numbers(loaded(content, TORCHSCRIPT), picture)
    bgr = numbers(loaded(content, TORCHSCRIPT, colour=Colour.BGR), picture)
    swapped = numbers(
        loaded(content, TORCHSCRIPT, colour=Colour.BGR), np.ascontiguousarray(picture[..., ::-1])
    )
    box = numbers(loaded(content, TORCHSCRIPT, alignment=Alignment.BOX), picture)
    chip = numbers(loaded(content, TORCHSCRIPT, alignment=Alignment.DLIB_CHIP), picture)
    for other in (bgr, box, chip):
        assert not np.allclose(rgb, other, atol=1e-3)
    # the detector sees other colours too, so that the landmarks move a little
    assert np.abs(swapped - rgb).max() < np.abs(bgr - rgb).max()


def test_a_grey_network_is_fed_one_channel(picture: Picture) -> None:
    grey = {
        "colour": Colour.GREY,
        "normalisation": Normalisation(mean=(0.0,), scale=(1 / 255,)),
    }
    content = torchscript(Small(channels=1), channels=1)
    recogniser = loaded(content, TORCHSCRIPT, **grey)
    without_colour = np.repeat(picture.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    assert len(numbers(recogniser, without_colour)) == DIMENSION
    with pytest.raises(MalformedError):
        loaded(content, TORCHSCRIPT)
    with pytest.raises(MalformedError):
        loaded(torchscript(Small()), TORCHSCRIPT, **grey)


def test_two_networks_are_laid_side_by_side_as_weighted_unit_vectors(picture: Picture) -> None:
    small = Small()
    contents = [onnx_model(small).SerializeToString(), torchscript(small)]
    one, two = (
        declared(content, form, weight=weight).parts[0]
        for content, form, weight in zip(contents, (ONNX, TORCHSCRIPT), (1.0, 0.5), strict=True)
    )
    both = RecogniserDeclaration(name="both", detector=YUNET, parts=(one, two))
    fused = load(both, files(*contents))
    values = numbers(fused, picture)
    assert fused.dimension == len(values) == 2 * DIMENSION
    lengths = [float(np.linalg.norm(half)) for half in (values[:DIMENSION], values[DIMENSION:])]
    assert np.allclose(lengths, [1, 0.5], atol=1e-5)


def test_another_file_than_the_declared_one_is_never_parsed() -> None:
    content = torchscript(Small())
    asked = declared(content, TORCHSCRIPT)
    sha256 = asked.parts[0].sha256
    with pytest.raises(ConstantMismatchError, match="no file of that sha256"):
        load(asked, files())
    with pytest.raises(ConstantMismatchError, match="got sha256"):
        load(asked, {**files(), sha256: b"no model at all"})
    with pytest.raises(ConstantMismatchError):
        load(asked, {**files(content), YUNET.sha256: content})


@pytest.mark.parametrize("form", [ONNX, TORCHSCRIPT])
@pytest.mark.parametrize(
    "changes",
    [{"dimension": DIMENSION + 1}, {"input_px": PX * 2}, {"layout": Layout.NHWC}],
    ids=["dimension", "size", "layout"],
)
def test_a_network_of_another_shape_is_refused(
    form: NetworkFormat, changes: dict[str, object]
) -> None:
    small = Small()
    content = onnx_model(small).SerializeToString() if form is ONNX else torchscript(small)
    with pytest.raises(MalformedError, match="expected a network in"):
        loaded(content, form, **changes)


@pytest.mark.parametrize("form", [ONNX, TORCHSCRIPT])
def test_what_is_no_network_is_refused_in_one_line(form: NetworkFormat) -> None:
    good = torchscript(Small())
    for content in (b"", b"\x00" * 64, b"PK\x03\x04" + b"a" * 99, good[:-200], good[200:]):
        with pytest.raises(MalformedError) as refused:
            loaded(content, form)
        assert "\n" not in str(refused.value)


def external(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def custom(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def undeclared_domain(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "somebody.else"


def random(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Bernoulli"


def nested(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[1].attribute.append(helper.make_attribute("then_branch", inner))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, None))


def not_finite(model: onnx.ModelProto) -> None:
    for weights in model.graph.initializer:
        if weights.name == "last.bias":
            weights.CopyFrom(
                numpy_helper.from_array(np.full(DIMENSION, np.nan, np.float32), "last.bias")
            )


@pytest.mark.parametrize(
    "spoil", [external, custom, undeclared_domain, random, nested, second_output, not_finite]
)
def test_an_onnx_graph_that_needs_more_than_itself_is_refused(
    spoil: Callable[[onnx.ModelProto], None],
) -> None:
    model = onnx_model(Small())
    spoil(model)
    with pytest.raises(MalformedError) as refused:
        loaded(model.SerializeToString(), ONNX)
    assert "passwd" not in str(refused.value)


def rewritten(
    content: bytes, change: Callable[[str, bytes], bytes] | None = None, **added: bytes
) -> bytes:
    """Write the same archive again with members changed or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)) if change else old.read(name))
        for name, extra in added.items():
            new.writestr(f"{root}/{name}", extra)
    return file.getvalue()


def test_an_archive_is_only_refused_for_what_was_done_to_it(picture: Picture) -> None:
    content = rewritten(torchscript(Small()))
    assert len(numbers(loaded(content, TORCHSCRIPT), picture)) == DIMENSION


@pytest.mark.parametrize(
    "name",
    ["extra/notes.txt", "data/../../evil", "code/os.py", "model.json", "data/0.pkl", "pickle.pkl"],
)
def test_an_archive_with_an_unexpected_member_is_refused(name: str) -> None:
    with pytest.raises(MalformedError, match="unexpected member"):
        loaded(rewritten(torchscript(Small()), **{name: b"1"}), TORCHSCRIPT)


class Trick(torch.nn.Module):
    """A real network, and something after it that no recogniser needs."""

    def __init__(self) -> None:
        super().__init__()
        self.small = Small()


class RunsWhileLoaded(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        return self.small(face)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return (self.small.last.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.training = state[1]


class ReadsAFile(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        read = torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8)
        return self.small(face) + read[0]


class WritesAFile(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        torch.save(face, "face.pt")
        return self.small(face)


class Prints(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        print(face)  # noqa: T201  # what must be refused
        return self.small(face)


class DrawsLots(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        described = self.small(face)
        return described + torch.rand_like(described)


class Forgets(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(self.small(face), 0.5, training=True)


class Endless(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        return self.small(face) / 0.0


class TwoAnswers(Trick):
    def forward(self, face: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        described = self.small(face)
        return described, described


class Quantised(Trick):
    def forward(self, face: torch.Tensor) -> torch.Tensor:
        return torch.ops.quantized.relu6(self.small(face))


@pytest.mark.parametrize(
    ("kind", "because"),
    [
        (RunsWhileLoaded, "runs while it is loaded"),
        (ReadsAFile, "more than compute"),
        (WritesAFile, "more than compute"),
        (Prints, "more than compute"),
        (DrawsLots, "more than compute"),
        (Forgets, "that differ"),
        (Endless, "not all finite"),
        (TwoAnswers, "not one tensor"),
        (Quantised, "operators of its own"),
    ],
)
def test_a_module_that_does_more_than_compute_is_refused(kind: type[Trick], because: str) -> None:
    with pytest.raises(MalformedError, match=because) as refused:
        loaded(scripted(kind()), TORCHSCRIPT)
    assert "\n" not in str(refused.value)


def test_a_card_that_is_not_there_is_said_to_be_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    content = torchscript(Small())
    with pytest.raises(UnsupportedError, match="describe faces on the CPU"):
        load(declared(content, TORCHSCRIPT), files(content), device="cuda")


def test_dlib_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    content = b"weights"
    with pytest.raises(UnsupportedError, match="pip install 'reidscope\\[dlib\\]'"):
        loaded(content, NetworkFormat.DLIB, input_px=150)


def test_what_is_no_network_of_dlibs_is_refused() -> None:
    pytest.importorskip("dlib", reason="the extra `dlib` is not installed")
    with pytest.raises(MalformedError, match="dlib cannot load"):
        loaded(b"weights", NetworkFormat.DLIB, input_px=150, dimension=128)


def test_the_models_of_a_declaration_are_those_that_packages_ship() -> None:
    assert set(models_of(SFACE)) == set(SFACE.sha256s)
    content = torchscript(Small())
    assert set(models_of(declared(content, TORCHSCRIPT))) == {YUNET.sha256}


@pytest.mark.slow
def test_dlib_alone_and_beside_sface_tells_people_apart(head: Template) -> None:
    pytest.importorskip("dlib", reason="the extra `dlib` is not installed")
    pytest.importorskip("face_recognition_models", reason="the extra `dlib` is not installed")
    people = 8
    for declaration in (DLIB_RESNET, SFACE_AND_DLIB):
        recogniser = load(declaration, models_of(declaration))
        rows = np.stack(
            [
                numbers(
                    recogniser,
                    photo(PersonSeed(population=Population.SITE, number=number), head, shot=shot),
                )
                for shot in (0, 1)
                for number in range(people)
            ]
        )
        # the smallest Euclidean distance, as dlib was trained, and the largest product of 8 bits
        distances = np.linalg.norm(rows[:people, None] - rows[None, people:], axis=2)
        eight = quantised(rows, rows.mean(0)).astype(np.int64)
        products = eight[:people] @ eight[people:].T
        own = np.arange(people)
        raw = float((distances.argmin(1) == own).mean())
        assert raw > 0.9
        assert float((products.argmax(1) == own).mean()) >= raw
