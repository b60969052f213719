"""The bill of materials names what a fresh install gets, each with its licence."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "docker" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_for(extras: set[str]) -> dict[str, str]:
    """Walk the installed metadata from pyproject.toml on: what pip brought, with versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"]]
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    found: dict[str, str] = {}
    roots = [Requirement(line) for line in asked]
    waiting = [(root.name, frozenset(root.extras)) for root in roots]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        found[normalised(name)] = metadata.version(name)
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in {*wanted, ""}):
                step = (requirement.name, frozenset(requirement.extras))
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
    return found


def entry(name: str, **said: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "version": "1.0", **said}, "download_info": {}}


def test_a_licence_is_said_by_its_expression_its_words_or_its_classifiers() -> None:
    licences = sbom().licences
    assert licences({"license_expression": "MIT OR Apache-2.0"}) == [
        {"expression": "MIT OR Apache-2.0"}
    ]
    assert licences({"license": "BSD-3-Clause"}) == [{"license": {"name": "BSD-3-Clause"}}]
    whole = "Copyright (c) 2001 Somebody\nAll rights reserved."
    classified = ["Programming Language :: C", "License :: OSI Approved :: BSD License"]
    assert licences({"license": whole, "classifier": classified}) == [
        {"license": {"name": "BSD License"}}
    ]
    assert licences({"license": "UNKNOWN"}) == []


def test_a_bill_names_everything_but_the_project_as_a_component_and_says_who_needs_whom() -> None:
    items = [
        {
            **entry("reidscope", requires_dist=["B_b>=1", "c; extra == 'site'", "d; extra == 'x'"]),
            "requested_extras": ["site"],
        },
        entry("b.B", requires_dist=["c"]),
        entry("c"),
    ]
    made = sbom().bill(items, "")
    assert made["metadata"]["component"]["name"] == "reidscope"
    assert [component["name"] for component in made["components"]] == ["b.B", "c"]
    assert made["components"][0]["purl"] == "pkg:pypi/b-b@1.0"
    assert {one["ref"]: one["dependsOn"] for one in made["dependencies"]} == {
        "b-b": ["c"],
        "c": [],
        "reidscope": ["b-b", "c"],
    }


def test_the_weights_of_the_licences_page_are_components_with_their_sha256() -> None:
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    listed = {one["name"]: one for one in sbom().weights(page)}
    assert "face_recognition_sface_2021dec_int8bq.onnx" in listed
    assert len(listed) == len(re.findall(r"`[0-9a-f]{64}`", page))
    assert all(one["hashes"] and one["licenses"] for one in listed.values())


@pytest.mark.slow
def test_the_bill_is_what_pip_installs_afresh_with_licences_and_hashes(tmp_path: Path) -> None:
    out = tmp_path / "sbom.cdx.json"
    subprocess.run(
        [
            sys.executable, str(ROOT / "docker" / "sbom.py"),
            "--extra", "site", "--extra", "server", "--extra", "burned-in", "--out", str(out),
        ],
        check=True,
    )  # fmt: skip
    made = json.loads(out.read_text())
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    libraries = [one for one in made["components"] if one["type"] == "library"]
    named = {normalised(one["name"]): one["version"] for one in libraries}
    assert len(named) == len(libraries)
    # the environment of these tests was installed by pip under the same lock, by another route
    expected = installed_for({"site", "server", "burned-in"})
    data = dict(
        line.split("#")[0].strip().split("==")
        for line in (ROOT / "requirements-data.txt").read_text().splitlines()
        if "==" in line.split("#")[0]
    )
    assert named == expected | {normalised(name): version for name, version in data.items()}
    assert [one["name"] for one in libraries if not one["licenses"]] == []
    assert [one["name"] for one in libraries if "hashes" not in one] == []
    references = {one["bom-ref"] for one in made["components"]}
    assert {need for one in made["dependencies"] for need in one["dependsOn"]} <= references
