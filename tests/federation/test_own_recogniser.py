"""A recogniser of one's own, from its files to the report: two networks that no package ships."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch
from tests.federation.consortium import PEOPLE, Consortium, command, ok, wait_until

from reidscope_protocols.recogniser import (
    SFACE,
    YUNET,
    Alignment,
    Colour,
    Layout,
    NetworkFormat,
    Normalisation,
    RecogniserDeclaration,
    RecogniserPart,
)
from reidscope_site.face.weights import installed_model_bytes

# PyTorch says at every call that TorchScript is to go; sites have such files all the same.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")]

SITES = ("alpha", "bravo")
PX = 64


def own_onnx() -> bytes:
    """SFace's graph under another producer's name: the same numbers, another sha256."""
    model = onnx.load_from_string(installed_model_bytes().recogniser)
    model.producer_name = "somebody else"
    content: bytes = model.SerializeToString()
    return content


def own_torchscript() -> bytes:
    """A small network with weights of its own."""
    generator = torch.Generator().manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 5, stride=4),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(5),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 9, 24),
    )
    with torch.no_grad():
        for weights in module.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator) * 0.1)
    file = io.BytesIO()
    traced = torch.jit.trace(module.eval(), torch.zeros(1, 1, PX, PX))  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    torch.jit.save(traced, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecogniserDeclaration]:
    """A folder with declaration.json and models/, and what the declaration says."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "models").mkdir()
    contents = {"faces.onnx": own_onnx(), "small.pt": own_torchscript()}
    for name, content in contents.items():
        (folder / "models" / name).write_bytes(content)
    first, second = (hashlib.sha256(content).hexdigest() for content in contents.values())
    declared = RecogniserDeclaration(
        name="ours",
        detector=YUNET,
        parts=(
            SFACE.parts[0].model_copy(update={"sha256": first}),
            RecogniserPart(
                format=NetworkFormat.TORCHSCRIPT,
                sha256=second,
                input_px=PX,
                colour=Colour.GREY,
                normalisation=Normalisation(mean=(127.5,), scale=(1 / 128,)),
                layout=Layout.NCHW,
                alignment=Alignment.BOX,
                distance="euclidean",
                dimension=24,
                weight=0.2,
            ),
        ),
    )
    (folder / "declaration.json").write_text(declared.model_dump_json())
    return folder, declared


def build(folder: Path, out: Path, declaration: str = "declaration.json") -> list[object]:
    return ["reidscope-site", "reference", "build", "--out", out, "--workspace",
            out.parent / "rows", "--declaration", folder / declaration, "--models",
            folder / "models", "--size", 20, "--anchors", 2, "--arms", "facemask", "--attackers",
            "calibrated", "--calibration-photos", 2, "--calibration-people", 2,
            "--probe-people", 2]  # fmt: skip


@pytest.fixture(scope="module")
def constants(
    own: tuple[Path, RecogniserDeclaration], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Gallery, calibration and models of a small public reference."""
    out = tmp_path_factory.mktemp("reference") / "constants"
    ok(command(*map(str, build(own[0], out))))
    return out


@pytest.fixture
def pair(tmp_path: Path, people_of: dict[str, Path]) -> Iterator[Consortium]:
    """A running coordinator and two sites that are enrolled and indexed."""
    made = Consortium(tmp_path)
    enrolment, control, fleet = made.ports
    ok(made.server("init", "--enrolment-port", enrolment, "--control-port", control,
                   "--fleet-port", fleet))  # fmt: skip
    made.up()
    try:
        for name in SITES:
            data, invitation = people_of[name], tmp_path / f"{name}.invitation.json"
            ok(made.server("token", name, "--out", invitation))
            ok(made.site(name, "init", "--name", name, "--dicom", data / "dicom",
                         "--photos", data / "photos", "--links", data / "links.csv",
                         "--declared-people", PEOPLE,
                         "--population", "synthetic people"))  # fmt: skip
            ok(made.site(name, "enroll", invitation))
            ok(made.site(name, "index"))
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)


def test_a_recogniser_of_ones_own_is_built_fetched_run_and_reported(
    pair: Consortium, constants: Path, own: tuple[Path, RecogniserDeclaration]
) -> None:
    networks = {part.sha256 for part in own[1].parts}
    assert {path.name for path in (constants / "models").iterdir()} == networks
    home, draft, signed = pair.home("coordinator"), pair.root / "d.json", pair.root / "s.json"
    ok(command("reidscope-server", "study", "new", "--id", "ours", "--sites", ",".join(SITES),
               "--constants", constants, "--out", draft, "--population", "synthetic people",
               "--arms", "facemask", "--anchors", 2, "--attackers", "calibrated",
               "--minimum-people", PEOPLE, "--minimum-sites", 2))  # fmt: skip
    ok(command("reidscope-server", "study", "sign", draft, "--out", signed, "--home", home))
    ok(command("reidscope-server", "study", "open", signed, "--constants", constants,
               "--home", home))  # fmt: skip
    for name in SITES:
        pair.serve(name)
    for name in SITES:
        wait_until("study", lambda name=name: "ours" in ok(pair.site(name, "studies")))
        refused = pair.site(name, "approve", "ours")
        assert refused.code == 32
        assert refused.err.count("\n") == 1
        assert "out of `recognisers` in the policy file" in refused.err
        allow(pair.home(name) / "policy.toml", networks)
        folder = pair.home(name) / "constants"
        wait_until(
            "models", lambda folder=folder: networks <= {path.name for path in folder.iterdir()}
        )
        for path in folder.iterdir():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        ok(pair.site(name, "approve", "ours"))
    command("reidscope-server", "collect", "ours", "--timeout", "1", "--home", home)
    wait_until(
        "releases",
        lambda: all(row["released"] for row in pair.status("ours").values()),
        seconds=180,
    )
    report = pair.root / "report"
    ok(pair.server("report", "ours", "--out", report))
    assert "all equal" in ok(command("reidscope-server", "verify", report))
    said = json.loads((report / "report.json").read_text())
    assert said["study"]["recogniser"] == "ours"
    methods = (report / "methods.txt").read_text()
    assert all(sha256[:12] in methods for sha256 in networks)


def allow(policy: Path, networks: set[str]) -> None:
    """What a site's person writes after having looked at the networks."""
    lines = [line for line in policy.read_text().splitlines() if not line.startswith("recognisers")]
    policy.write_text("\n".join([f"recognisers = {sorted(networks)}", *lines, ""]))


def test_files_that_are_not_the_declared_ones_are_refused_in_one_line(
    own: tuple[Path, RecogniserDeclaration], tmp_path: Path
) -> None:
    folder, declared = own
    first, second = declared.parts
    wrong = {
        "another sha256": (first.model_copy(update={"sha256": "0" * 64}), 10, "0000000000000000"),
        "another input": (first.model_copy(update={"input_px": 96}), 21, "(1, 3, 96, 96)"),
        "another format": (
            second.model_copy(update={"format": NetworkFormat.ONNX}), 21, "a network in onnx",
        ),
    }  # fmt: skip
    for part, code, said in wrong.values():
        other = declared.model_copy(update={"parts": (part,)})
        # the folder of the files may hold others too
        (folder / "other.json").write_text(other.model_dump_json())
        done = command(*map(str, build(folder, tmp_path / "out", "other.json")))
        assert (done.code, done.err.count("\n")) == (code, 1), done.err
        assert done.err.startswith("error: ")
        assert said in done.err
        assert not (tmp_path / "out" / "gallery.npy").exists()
