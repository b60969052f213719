"""A bill of materials in CycloneDX, out of what pip resolves under the lock.

    python docker/sbom.py --extra site --extra server --out dist/sbom.cdx.json      (make sbom)

pip itself says what a fresh install would get, each wheel's sha256 and licence: nothing is guessed
from this environment. The files of weights stand in docs/licences.md and are listed as data. Two
runs under one lock differ in their serial number and time alone.
"""  # noqa: INP001  # a script beside the images it describes, as examples/ and benchmarks/ are

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
_CLASSIFIER = "License :: "
_LONGEST_LICENCE = 120
_TELLS_LICENCES = (25, 1)
_WEIGHTS_ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \|.*\| `(?P<sha256>[0-9a-f]{64})` \| (?P<licence>[^|]+) \|$",
    flags=re.MULTILINE,
)


def resolved(requirements: Sequence[str], *, deps: bool = True) -> list[dict[str, Any]]:
    """Ask pip what it would install into an empty environment, without installing it.

    Parameters
    ----------
    requirements : sequence of str
        Words of pip's own command line, such as `.[site]`.
    deps : bool
        Whether what they require is wanted too.

    Raises
    ------
    subprocess.CalledProcessError
        pip cannot resolve them; it says why on the terminal.
    """
    if tuple(map(int, version("pip").split(".")[:2])) < _TELLS_LICENCES:
        sys.exit(
            f"sbom: got pip {version('pip')}, expected 25.1 or newer, which tells licences; "
            "upgrade pip"
        )
    command = [
        sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
        "--disable-pip-version-check", "--report", "-", "-c", "constraints.txt",
        *([] if deps else ["--no-deps"]), *requirements,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)  # noqa: S603  # pip itself
    found: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return found


def licences(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """Say a distribution's licences as CycloneDX does: its own expression, else its own words.

    A licence pasted whole into the metadata is no name: the classifiers stand for it.
    """
    if expression := metadata.get("license_expression"):
        return [{"expression": expression}]
    words = (metadata.get("license") or "").strip()
    if words and words != "UNKNOWN" and "\n" not in words and len(words) <= _LONGEST_LICENCE:
        return [{"license": {"name": words}}]
    return [
        {"license": {"name": line.removeprefix(_CLASSIFIER).removeprefix("OSI Approved :: ")}}
        for line in metadata.get("classifier", [])
        if line.startswith(_CLASSIFIER)
    ]


def component(item: dict[str, Any]) -> dict[str, Any]:
    """Turn one entry of pip's report into a component."""
    metadata = item["metadata"]
    name, version = metadata["name"], metadata["version"]
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference(name),
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{reference(name)}@{quote(version, safe='.')}",
        "licenses": licences(metadata),
    }
    if digest := item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256"):
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return made


def reference(name: str) -> str:
    """Normalise a distribution's name, as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies(items: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say who requires whom, of those that are there."""
    there = {reference(item["metadata"]["name"]) for item in items}
    for item in items:
        extras = item.get("requested_extras") or [""]
        wanted = set()
        for line in item["metadata"].get("requires_dist", []):
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                wanted.add(reference(requirement.name))
        yield {"ref": reference(item["metadata"]["name"]), "dependsOn": sorted(wanted & there)}


def weights(page: str) -> Iterator[dict[str, Any]]:
    """List the files of weights as the table of docs/licences.md has them."""
    for row in _WEIGHTS_ROW.finditer(page):
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"weights/{row['file']}",
            "name": row["file"],
            "hashes": [{"alg": "SHA-256", "content": row["sha256"]}],
            "licenses": [{"license": {"name": row["licence"].strip()}}],
        }


def bill(items: Sequence[dict[str, Any]], page: str) -> dict[str, Any]:
    """Put the document together; the project itself is what it is about."""
    ours = next(item for item in items if reference(item["metadata"]["name"]) == "reidscope")
    others = sorted(
        (item for item in items if item is not ours), key=lambda item: item["metadata"]["name"]
    )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": {**component(ours), "type": "application"},
        },
        "components": [*map(component, others), *weights(page)],
        "dependencies": sorted(dependencies(items), key=lambda entry: str(entry["ref"])),
    }


def main() -> None:
    """Write the bill of materials of some of the project's extras."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--extra", action="append", default=[], help="repeatable")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    items = resolved([f".[{','.join(asked.extra)}]"])
    items += resolved(["-r", "requirements-data.txt"], deps=False)
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(bill(items, page), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
