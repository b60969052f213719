"""ONNX through ONNX Runtime, on the CPU, on one thread.

An ONNX graph is interpreted, not run as code, but it can name files beside it, operators of
somebody's library, graphs within graphs and random numbers: all of these are refused before ONNX
Runtime sees a byte. How much memory a graph takes is not bounded here: that is the worker's limit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# ONNX Runtime reads the switch above when it is imported, and keeps a device number without it.
import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnxruntime.capi import onnxruntime_pybind11_state

from reidscope_site.face.recognisers.network import input_shape, no_network, size_allowed
from reidscope_site.face.recognisers.onnx_weights import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from reidscope_protocols.recogniser import RecogniserPart

_FAILURES = (
    onnxruntime_pybind11_state.Fail,
    onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime_pybind11_state.NotImplemented,
    onnxruntime_pybind11_state.RuntimeException,
)
_DOMAINS = frozenset({"", "ai.onnx"})
_MOST_NODES = 20_000
_RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_FLOAT = "tensor(float)"


class OnnxNetwork:
    """One graph in a session of ONNX Runtime.

    Parameters
    ----------
    content : bytes
        The file, its sha256 checked.
    part : RecogniserPart
        What the study says of it.

    Raises
    ------
    MalformedError
        If it is no ONNX graph of one input and one output that needs nothing else.
    """

    def __init__(self, content: bytes, part: RecogniserPart) -> None:
        size_allowed(content, part)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # a hostile file's names stay out of the log
        self._part = part
        try:
            graph, self._weights = unpacked(onnx.load_from_string(trimmed(content, part)))
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except (DecodeError, *_FAILURES) as error:
            raise no_network(part, "a file that ONNX Runtime cannot load") from error
        inputs = [one for one in self._session.get_inputs() if one.name not in self._weights]
        outputs = self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise no_network(part, f"{len(inputs)} inputs and {len(outputs)} outputs")
        wanted = input_shape(part)
        shape = tuple(inputs[0].shape)
        fixed = [(has, wants) for has, wants in zip(shape, wanted, strict=False) if _fixed(has)]
        if len(shape) != len(wanted) or any(has != wants for has, wants in fixed):
            sizes = ", ".join(str(size) if _fixed(size) else "any" for size in shape)
            raise no_network(part, f"an input of ({sizes})")
        if inputs[0].type != _FLOAT or outputs[0].type != _FLOAT:
            raise no_network(part, "an input or output that is not float32")
        self._input = inputs[0].name

    def describe(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers of one face; see `Network`.

        Privacy
        -------
        A function of this one face and the weights (docs/privacy.md, "One person, one cell").
        """
        try:
            (values,) = self._session.run(None, {self._input: blob, **self._weights})
        except _FAILURES:
            # its text could name what the file holds, so it is dropped
            raise no_network(self._part, "a graph that fails when it is run") from None
        return np.asarray(values, dtype=np.float32)


def _fixed(size: object) -> bool:
    return isinstance(size, int)


def trimmed(content: bytes, part: RecogniserPart) -> bytes:
    """Check a graph, and keep the inputs that are used and are no weights.

    The int8bq file of SFace lists its weights as inputs too, and constants that nothing uses;
    ONNX Runtime would ask for them.

    Raises
    ------
    MalformedError
        If the graph needs another file, another library, another graph or chance.
    DecodeError
        If it is no protobuf at all.
    """
    model = onnx.load_from_string(content)
    if len(model.graph.node) > _MOST_NODES:
        raise no_network(part, f"more than {_MOST_NODES} operators")
    if not {entry.domain for entry in model.opset_import} <= _DOMAINS or model.functions:
        raise no_network(part, "operators of its own")
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            raise no_network(part, "operators of its own")
        if node.op_type in _RANDOM:
            raise no_network(part, "an operator that draws random numbers")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise no_network(part, "a graph within the graph")
    if any(_outside(tensor) for tensor in _tensors(model)):
        raise no_network(part, "weights in another file")
    weights = {tensor.name for tensor in model.graph.initializer}
    used = {name for node in model.graph.node for name in node.input} - weights
    kept = [entry for entry in model.graph.input if entry.name in used]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    serialised: bytes = model.SerializeToString()
    return serialised


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _outside(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)
