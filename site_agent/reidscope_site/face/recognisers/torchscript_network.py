"""TorchScript through PyTorch, on the CPU (one thread) or on a card.

TorchScript is code. Loading one means: a file whose sha256 stands in the signed study and in this
site's policy is read by `torch.jit.load`, PyTorch's own interpreter, never by Python's pickle, and
its `forward` runs PyTorch's own operators on one face at a time. Before it is loaded the archive
must hold what PyTorch writes and nothing else, and no code that runs while it is being loaded;
before it is run, every operator must be PyTorch's own and none may read or write files, print or
draw random numbers. What remains trusted is PyTorch's interpreter.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import torch

from reidscope_protocols.errors import MalformedError, UnsupportedError
from reidscope_site.face.recognisers.network import LARGEST_FILE, no_network, size_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from reidscope_protocols.recogniser import RecogniserPart

_MEMBER = re.compile(
    r"(data\.pkl|constants\.pkl|version|byteorder|\.data/serialization_id|traced_inputs\.pkl"
    r"|(data|constants|traced_inputs)/\d{1,6}"
    r"|code/__torch__(/[A-Za-z0-9_]{1,200}){0,20}\.py(\.debug_pkl)?)"
)
_ZIP = b"PK\x03\x04"
_MOST_MEMBERS = 20_000
_RUNS_WHILE_LOADING = re.compile(rb"__setstate__|torch\.classes|(?<![\w.])ops\.(?!prim\.|aten\.)")
_REFUSED = re.compile(
    r"aten::(from_file|save|load|warn|set_num_threads|manual_seed|seed"
    r"|rand\w*|normal\w*|bernoulli\w*|multinomial|uniform\w*|random\w*|exponential\w*|geometric\w*"
    r"|log_normal\w*|cauchy\w*|poisson|binomial)"
    r"|prim::(Print|PythonOp|CallFunction|CallMethod|rpc\w*|fork)"
)
_NAMESPACES = ("aten::", "prim::")


class TorchScriptNetwork:
    """One scripted or traced module.

    Parameters
    ----------
    content : bytes
        The file, its sha256 checked.
    part : RecogniserPart
        What the study says of it.
    device : str
        `cpu` or `cuda`. The card's numbers are not the CPU's to the last bit: a study takes one.

    Raises
    ------
    MalformedError
        If the archive is none, holds anything unexpected or does more than compute.
    UnsupportedError
        If `cuda` is asked for and not there.
    """

    def __init__(self, content: bytes, part: RecogniserPart, *, device: str = "cpu") -> None:
        size_allowed(content, part)
        if device != "cpu" and not torch.cuda.is_available():
            raise UnsupportedError(
                "the device cuda",
                got="a machine on which PyTorch sees none",
                expected="a CUDA device and a CUDA build of PyTorch",
                do="describe faces on the CPU",
            )
        _check_archive(content, part)
        self._part, self._device = part, device
        torch.set_num_threads(1)
        try:
            module = torch.jit.load(  # type: ignore[no-untyped-call]  # PyTorch's own is untyped
                io.BytesIO(content), map_location=device
            )
            module.eval()
            operators = set(_operators(module.inlined_graph))
        except (AttributeError, RuntimeError, ValueError, torch.jit.Error) as error:
            raise no_network(part, "an archive that PyTorch cannot load") from error
        if any(not kind.startswith(_NAMESPACES) for kind in operators):
            raise no_network(part, "operators of its own")
        if any(_REFUSED.fullmatch(kind) for kind in operators):
            raise no_network(part, "an operator that does more than compute")
        self._module = module

    def describe(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers of one face; see `Network`.

        Privacy
        -------
        A function of this one face and the weights (docs/privacy.md, "One person, one cell").
        """
        torch.set_num_threads(1)
        # the optimising executor may rewrite the graph after the first faces, and so change bits
        with (
            torch.no_grad(),
            torch.jit.optimized_execution(False),  # type: ignore[attr-defined]  # in PyTorch's __all__
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
        ):
            try:
                values = self._module.forward(torch.from_numpy(blob).to(self._device))
            except (RuntimeError, torch.jit.Error):
                # its text quotes the archive's code, so it is dropped
                raise no_network(self._part, "a module that fails when it is run") from None
        if not isinstance(values, torch.Tensor) or values.dtype != torch.float32:
            raise no_network(self._part, "an answer that is not one tensor of float32")
        return np.asarray(values.cpu().numpy(), dtype=np.float32)


def _check_archive(content: bytes, part: RecogniserPart) -> None:
    if not content.startswith(_ZIP):
        raise no_network(part, "a file that is no TorchScript archive")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive, part)
    except MalformedError:
        raise
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise no_network(part, "a file that is no TorchScript archive") from error


def _check_members(archive: zipfile.ZipFile, part: RecogniserPart) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    roots = {name.partition("/")[0] for name in names}
    if len(members) > _MOST_MEMBERS or len(set(names)) != len(names) or len(roots) != 1:
        raise no_network(part, "an archive of another kind")
    if any(_MEMBER.fullmatch(name.partition("/")[2]) is None for name in names):
        raise no_network(part, "an archive with an unexpected member")
    if sum(member.file_size for member in members) > LARGEST_FILE:
        raise no_network(part, f"an archive that unpacks to more than {LARGEST_FILE} bytes")
    code = [member for member in members if member.filename.endswith((".py", ".pkl"))]
    if any(_RUNS_WHILE_LOADING.search(archive.read(member)) for member in code):
        raise no_network(part, "code that runs while it is loaded, or operators of its own")


def _operators(graph: torch.Graph) -> Iterator[str]:
    """Kinds of all operators of a graph and of the blocks within."""
    open_blocks = [iter(graph.nodes())]
    while open_blocks:
        for node in open_blocks.pop():
            yield node.kind()
            open_blocks.extend(block.nodes() for block in node.blocks())
