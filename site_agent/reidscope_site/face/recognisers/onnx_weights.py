"""Weights of 8 bits made float32 once instead of at every face: the same bits, in less time.

ONNX Runtime leaves `DequantizeLinear` where it stands, since it may fuse it with what quantises
again, and so computes all weights anew for each picture: a third of SFace's time. Here these
operators run once, and what they give is fed to the rest of the graph as inputs: not as constants,
which ONNX Runtime would lay out anew and sum in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEQUANTIZE, _RESHAPE = "DequantizeLinear", "Reshape"
_FED_ALIKE = frozenset({"BatchNormalization", "Conv", "Gemm", "PRelu"})
"""Operators that ONNX Runtime computes alike from a weight that is an operator's and an input's."""


def unpacked(model: onnx.ModelProto) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """Take out of a graph what makes float32 of its weights.

    Parameters
    ----------
    model : ModelProto
        Checked; is changed.

    Returns
    -------
    tuple
        The rest of the graph, and by name what it is to be fed with. A graph whose weights go
        anywhere else than into the operators of `_FED_ALIKE` comes back whole, with nothing.

    Raises
    ------
    onnxruntime's failures
        If the weights are none.
    """
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    made: list[onnx.NodeProto] = []
    names: set[str] = set()
    for node in graph.node:
        starts = node.op_type == _DEQUANTIZE
        shapes = node.op_type == _RESHAPE and not names.isdisjoint(node.input)
        if (starts or shapes) and all(name in known or name in names for name in node.input):
            made.append(node)
            names.update(node.output)
    rest = [node for node in graph.node if names.isdisjoint(node.output)]
    taking = [node for node in rest if names.intersection(node.input)]
    ends = {output.name for output in graph.output}
    if not made or ends & names or any(node.op_type not in _FED_ALIKE for node in taking):
        return model.SerializeToString(), {}
    wanted = sorted({name for node in taking for name in node.input} & names)
    weights = _run(model, made, wanted)
    if any(one.dtype != np.float32 for one in weights.values()):
        return model.SerializeToString(), {}
    used = {name for node in rest for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    for field, values in ((graph.node, rest), (graph.initializer, kept)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, values.shape)
        for name, values in weights.items()
    )
    return model.SerializeToString(), weights


def _run(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], wanted: list[str]
) -> dict[str, NDArray[np.float32]]:
    """Compute weights from the graph's own numbers alone."""
    needed = {name for node in nodes for name in node.input}
    weights_alone = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "weights",
            [],
            [onnx.helper.make_empty_tensor_value_info(name) for name in wanted],
            [tensor for tensor in model.graph.initializer if tensor.name in needed],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        weights_alone.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(wanted, {})
    return {name: np.ascontiguousarray(one) for name, one in zip(wanted, found, strict=True)}
