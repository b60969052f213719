"""The leak matrix: which planted identifiers survive, place by place, encoding by encoding.

    python benchmarks/deid_leaks.py --peers peers-venv/bin/python [--all]

The tests' own corpus (tests/deid/conftest.py) plants a token of its own in each place that DICOM
has room for one; the output is then searched for it, byte by byte, inflated if it is deflated. A
cell holds the letter of each encoding in which the place leaked: Explicit, Implicit, Big endian,
Deflated. `*` beside a tool: malformed dates had to be taken out before it read the file; `refused`,
and `-` in the matrix: it wrote nothing. Tools run with their defaults, as in deid_peers.py.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from deid_peers import MALFORMED, SYNTAXES, Tool, planted_corpus, python_tool, survivors, tools

from reidscope_deid.profile import profile_names

COMPARED = ("dicognito", "dicom-anonymizer", "deid", "gdcmanon -e", "pydicom read + save")
LETTERS = dict(zip(SYNTAXES, "EIBD", strict=True))
OURS = """
from pathlib import Path
from reidscope_deid import SiteKey, deidentify_tree, load_profile
def work(source, out):
    profile = load_profile(sys.argv[3])
    deidentify_tree(Path(source), Path(out), key=SiteKey(bytes(32)), profile=profile, durable=False)
version = "here"
"""


@dataclass(slots=True)
class Leaks:
    """What one tool let through."""

    places: dict[str, set[str]] = field(default_factory=dict)
    planted: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    helped: set[str] = field(default_factory=set)
    missing: bool = False

    def cell(self, place: str) -> str:
        """Say the encodings in which a place leaked."""
        if not self.planted:
            return "-"
        return "".join(sorted(self.places.get(place, ()))) or "."

    def summary(self) -> str:
        """Say survivors in each encoding."""
        if self.missing:
            return "not installed"
        cells = []
        for name in SYNTAXES:
            letter = LETTERS[name]
            survived = sum(letter in letters for letters in self.places.values())
            mark = "*" if letter in self.helped else ""
            said = f"{mark}{survived}/{self.planted.get(letter, 0)}"
            cells.append("refused" if letter in self.refused else said)
        return "  ".join(f"{cell:>10}" for cell in cells)


def leaks_of(tool: Tool) -> Leaks:
    """Run a tool on the corpus in each encoding."""
    corpus, found = planted_corpus(), Leaks()
    for name, syntax in SYNTAXES.items():
        letter = LETTERS[name]
        content, tokens = corpus.planted(syntax)
        plain = pydicom.dcmread(io.BytesIO(content))
        for tag in MALFORMED:
            del plain[tag]
        for helped, one in ((False, content), (True, corpus.as_bytes(plain, syntax))):
            with tempfile.TemporaryDirectory() as folder:
                source, out = Path(folder, "in"), Path(folder, "out")
                source.mkdir()
                out.mkdir()
                (source / "planted.dcm").write_bytes(one)
                found.missing = "missing" in tool(source, out)
                written = [path for path in out.rglob("*") if path.is_file()]
                if not written:
                    continue
                surviving, planted = survivors(written[0], one, tokens)
            found.planted[letter] = planted
            found.helped |= {letter} if helped else set()
            for token in surviving:
                found.places.setdefault(tokens[token], set()).add(letter)
            break
        else:
            found.refused.add(letter)
    return found


def main() -> None:
    """Print counts, then the matrix."""
    warnings.simplefilter("ignore")  # pydicom, of the tokens planted
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=sys.executable, help="Python that has the peers")
    parser.add_argument("--all", action="store_true", help="places that nobody leaked, too")
    chosen = parser.parse_args()
    compared = {
        f"reidscope {name}": python_tool(sys.executable, OURS, name) for name in profile_names()
    }
    compared |= {name: tools(chosen.peers)[name] for name in COMPARED}
    found = {}
    print(f"{'planted identifiers that survive':34} " + "  ".join(f"{s:>10}" for s in SYNTAXES))
    for name, tool in compared.items():
        found[name] = leaks_of(tool)
        print(f"{name:34} {found[name].summary()}", flush=True)
        if name.startswith("reidscope") and found[name].places:
            print(f"{'':34} {', '.join(sorted(found[name].places))}")
    shown = {name: one for name, one in found.items() if not one.missing}
    places = list(planted_corpus().planted(SYNTAXES["explicit"])[1].values())
    leaked = {place for one in shown.values() for place in one.places}
    columns = [name for name in shown if name in {"reidscope basic", *COMPARED}]
    print(f"\n{'place':40} " + "  ".join(f"{name.split(' ')[0][:16]:>16}" for name in columns))
    for place in places if chosen.all else [one for one in places if one in leaked]:
        cells = (shown[name].cell(place) for name in columns)
        print(f"{place[:40]:40} " + "  ".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
