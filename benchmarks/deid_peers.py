"""Our engine beside its peers: CPU milliseconds a file, and planted identifiers that survive.

    python -m venv peers-venv && peers-venv/bin/pip install dicognito dicom-anonymizer deid
    python benchmarks/deid_peers.py --peers peers-venv/bin/python [--files 200]

One process at a time, on the same generated CT and MR files (`deid_speed`). CPU time, not wall
time, and not the time that a Python program takes to import itself. The leak matrix plants the
tests' own tokens in one file a transfer syntax. A peer that is missing is a line that says so.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import io
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from deid_speed import write_slices

from reidscope_deid.identifiers import inflated_content

OURS = """
from pathlib import Path
from reidscope_deid import SiteKey, deidentify_tree, load_profile
import reidscope_deid.series
profile, key = load_profile("basic"), SiteKey(bytes(32))
if sys.argv[3] == "unverified":
    reidscope_deid.series.Deidentifier._verify = lambda self, path, done: None
if sys.argv[3] == "nothing repeats":
    from reidscope_deid.second_reader import SecondReader
    reidscope_deid.series.Deidentifier._repeated = lambda self, data, tally: None
    SecondReader._repeats = lambda self, content, done: False
def work(source, out):
    deidentify_tree(Path(source), Path(out), key=key, profile=profile, durable=False)
version = "here"
"""
PYDICOM = """
import pydicom
def each(source, target):
    pydicom.dcmread(source).save_as(target)
version = pydicom.__version__
"""
DICOGNITO = """
import dicognito, pydicom
from dicognito.anonymizer import Anonymizer
one = Anonymizer(seed="x")
def each(source, target):
    data_set = pydicom.dcmread(source)
    one.anonymize(data_set)
    data_set.save_as(target)
version = dicognito.__version__
"""
DICOM_ANONYMIZER = """
from importlib.metadata import version as version_of
from dicomanonymizer import anonymize_dicom_file
def each(source, target):
    anonymize_dicom_file(source, target)
version = version_of("dicom-anonymizer")
"""
DEID = """
from importlib.metadata import version as version_of
from deid.config import DeidRecipe
from deid.dicom import replace_identifiers
recipe = DeidRecipe()
def each(source, target):
    made = replace_identifiers(
        dicom_files=[source], deid=recipe, save=False, force=True, remove_private=True
    )
    made[0].save_as(target)
version = version_of("deid")
"""
DRIVER = """
import json, logging, os, sys, time, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
failed = 0
def work(source, out):
    global failed
    for name in sorted(os.listdir(source)):
        try:
            each(os.path.join(source, name), os.path.join(out, name))
        except Exception:
            failed += 1
{body}
start = time.process_time()
work(sys.argv[1], sys.argv[2])
spent = time.process_time() - start
sys.stdout = sys.__stdout__
print(json.dumps({{"cpu_s": spent, "failed": failed, "version": version}}))
"""
SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}
MALFORMED = (0x00080201, 0x00080030, 0x0040A13A)
"""Elements of the planted file that hold a token where a date or time should stand."""
Tool = Callable[[Path, Path], dict[str, Any]]


def python_tool(python: str, body: str, *arguments: str) -> Tool:
    """Run a tool with a Python interface, in a process of its own."""

    def run(source: Path, out: Path) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603 - the interpreter that the caller named
            [python, "-c", DRIVER.format(body=body), str(source), str(out), *(arguments or ("",))],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            return {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:70]}
        said: dict[str, Any] = json.loads(lines[-1])
        return said

    return run


def command_tool(command: list[str], version: list[str]) -> Tool:
    """Run a program once a file."""

    def run(source: Path, out: Path) -> dict[str, Any]:
        if shutil.which(version[0]) is None:
            return {"missing": "not installed"}
        said = subprocess.run(version, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed list
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        failed = 0
        for path in sorted(source.iterdir()):
            words = [
                word.replace("IN", str(path)).replace("OUT", str(out / path.name))
                for word in command
            ]
            failed += bool(subprocess.run(words, capture_output=True, check=False).returncode)  # noqa: S603 - as above
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lines = (said.stdout + said.stderr).strip().splitlines() or [""]
        return {"cpu_s": spent, "failed": failed, "version": lines[0][:40]}

    return run


def tools(peers: str) -> dict[str, Tool]:
    """Everything that is compared, by the name that the tables use."""
    edits = ["PatientName=x", "PatientID=x", "AccessionNumber=x", "InstitutionName=x"]
    modify = [word for edit in edits for word in ("-ma", edit)]
    return {
        "reidscope, verified": python_tool(sys.executable, OURS, "verified"),
        "reidscope, unverified": python_tool(sys.executable, OURS, "unverified"),
        "reidscope, as if no file repeated": python_tool(sys.executable, OURS, "nothing repeats"),
        "pydicom read + save": python_tool(sys.executable, PYDICOM),
        "dicognito": python_tool(peers, DICOGNITO),
        "dicom-anonymizer": python_tool(peers, DICOM_ANONYMIZER),
        "deid": python_tool(peers, DEID),
        "gdcmanon -e": gdcmanon,
        "dcmodify, 4 edits (one process a file)": command_tool(
            ["sh", "-c", f"cp IN OUT && dcmodify -nb {' '.join(modify)} OUT"],
            ["dcmodify", "--version"],
        ),
    }


def gdcmanon(source: Path, out: Path) -> dict[str, Any]:
    """Run gdcmanon's basic profile once over the whole folder, with a certificate made for it."""
    if shutil.which("gdcmanon") is None:
        return {"missing": "not installed (libgdcm-tools)"}
    said = subprocess.run(["gdcmanon", "--version"], capture_output=True, text=True, check=False)  # noqa: S607 - the peer
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.pem")
        _write_certificate(certificate)
        words = ["gdcmanon", "-e", "-r", "--continue", "-c", certificate, "-i", source, "-o", out]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, capture_output=True, check=False)  # noqa: S603 - a fixed list
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    failed = len(list(source.iterdir())) - sum(path.is_file() for path in out.rglob("*"))
    lines = (said.stdout + said.stderr).strip().splitlines() or [""]
    return {"cpu_s": spent, "failed": failed, "version": lines[0][:40]}


def _write_certificate(path: Path) -> None:
    """Self-signed, for nobody: gdcmanon encrypts what it takes out under it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark")])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def copy_all(source: Path, out: Path) -> dict[str, Any]:
    """`cp` of the whole folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["cp", "-r", f"{source}/.", str(out)], check=True)  # noqa: S603, S607 - cp of temporary folders
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": spent, "failed": 0, "version": ""}


def speed(tool: Tool, sources: list[Path], files: int) -> tuple[str, str]:
    """CPU milliseconds a file in each folder, and the tool's version, as the table says them."""
    cells, version = [], ""
    for source in sources:
        with tempfile.TemporaryDirectory() as out:
            said = tool(source, Path(out))
        if "missing" in said:
            return "-", str(said["missing"])
        version = str(said["version"])
        failed = f" ({said['failed']} failed)" if said["failed"] else ""
        cells.append(f"{said['cpu_s'] / files * 1000:6.2f}{failed}")
    return "  ".join(cells), version


def leaks(tool: Tool, folder: Path) -> str:
    """Tokens that survive, a transfer syntax; ``*`` where dates that are none had to go first."""
    corpus = planted_corpus()
    cells = []
    for number, syntax in enumerate(SYNTAXES.values()):
        content, tokens = corpus.planted(syntax)
        plain = pydicom.dcmread(io.BytesIO(content))
        for tag in MALFORMED:
            del plain[tag]
        for mark, one in (("", content), ("*", corpus.as_bytes(plain, syntax))):
            source, out = folder / f"in{number}{mark}", folder / f"out{number}{mark}"
            source.mkdir()
            out.mkdir()
            (source / "planted.dcm").write_bytes(one)
            if "missing" in tool(source, out):
                return "-"
            written = [path for path in out.rglob("*") if path.is_file()]
            if written:
                surviving, planted = survivors(written[0], one, tokens)
                cells.append(f"{mark}{len(surviving)}/{planted}")
                break
        else:
            cells.append("refused")
    return "  ".join(f"{cell:>10}" for cell in cells)


def survivors(path: Path, original: bytes, tokens: dict[bytes, str]) -> tuple[set[bytes], int]:
    """Tokens of the original that stand in an output, and how many the original holds."""
    plain = _inflated(path)
    with tempfile.NamedTemporaryFile() as kept:
        Path(kept.name).write_bytes(original)
        before = _inflated(Path(kept.name))
    planted = {token for token in tokens if token in before}
    return {token for token in planted if token in plain}, len(planted)


def _inflated(path: Path) -> bytes:
    try:
        return inflated_content(path, pydicom.dcmread(path))
    except Exception:  # noqa: BLE001 - whatever a peer wrote that pydicom cannot read
        return path.read_bytes()


def planted_corpus() -> ModuleType:
    """Load the module of the tests that plants identifiers."""
    path = Path(__file__).parents[1] / "tests" / "deid" / "conftest.py"
    spec = importlib.util.spec_from_file_location("planted_corpus", path)
    # Safety: a file of this project.
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Print both tables."""
    warnings.simplefilter("ignore")  # pydicom, of the tokens planted
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200, help="slices a series")
    parser.add_argument("--peers", default=sys.executable, help="Python that has the peers")
    chosen = parser.parse_args()
    print(
        f"Python {platform.python_version()}, pydicom {pydicom.__version__}, {chosen.files} files"
    )
    compared = tools(chosen.peers)
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder, name) for name in ("mr", "ct")]
        for source in sources:
            write_slices(source, chosen.files, computed=source.name == "ct")
        print(f"\n{'ms CPU a file':40}     MR      CT  version")
        for name, tool in {"cp -r": copy_all, **compared}.items():
            cells, version = speed(tool, sources, chosen.files)
            print(f"{name:40} {cells:>14}  {version}")
    print(f"\n{'planted identifiers that survive':40} " + "  ".join(f"{s:>10}" for s in SYNTAXES))
    for name, tool in compared.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name:40} {leaks(tool, Path(folder))}")


if __name__ == "__main__":
    main()
