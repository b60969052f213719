"""Report -> RO-Crate: what lies in the folder, what it was made from, and by what, for machines.

RO-Crate 1.1, one JSON-LD file. Everything in it follows from the report and the files' own bytes;
a file's sha256 here is a convenience, `report.dsse.json` is what was signed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from reidscope_protocols.envelope import peek_payload
from reidscope_protocols.report import Report
from reidscope_protocols.study import Study
from reidscope_server.report.readings import signed_tables

CRATE_FILE = "ro-crate-metadata.json"
_CONTEXT = ("https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"})
_CONFORMS = "https://w3id.org/ro/crate/1.1"
_SPDX = "https://spdx.org/licenses/"
_OURS = "Apache-2.0"
_KINDS = {
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}
_SAID = {
    "index.html": "The report as one page, for people",
    "report.json": "The report: every estimate, every noisy count, the evidence",
    "report.dsse.json": "The report, signed by the coordinator",
    "methods.txt": "Methods and results in two paragraphs",
    "tables.csv": "Every noisy count as the sites signed it",
}
_Entity = dict[str, Any]


def crate(report: Report, files: Mapping[str, bytes]) -> bytes:
    """Describe a report's folder.

    Parameters
    ----------
    report : Report
        What the folder holds.
    files : mapping of str to bytes
        Every other file by its name in the folder, with `/` between folder and name;
        `report.json` is one of them.

    Returns
    -------
    bytes
        JSON-LD, UTF-8: the same for the same report and files.
    """
    study = Study.parse(peek_payload(report.evidence.study.encode()))
    licence, ours = _licence(report.licence), _licence(_OURS)
    graph = [
        {
            "@id": CRATE_FILE,
            "@type": "CreativeWork",
            "conformsTo": {"@id": _CONFORMS},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"{report.study.title} (reidscope report)",
            "description": f"{report.study.question} Population: {report.study.population}.",
            "datePublished": report.issued_at.date().isoformat(),
            "license": {"@id": licence["@id"]},
            "identifier": f"urn:sha256:{_sha256(files['report.json'])}",
            "about": {"@id": "#study"},
            "mainEntity": {"@id": "report.json"},
            "hasPart": [{"@id": name} for name in sorted(files)],
        },
        *{entity["@id"]: entity for entity in (licence, ours)}.values(),
        *(_file(name, files[name]) for name in sorted(files)),
        _study(report, study),
        *(
            {
                "@id": f"urn:sha256:{constant.sha256}",
                "@type": "CreativeWork",
                "name": f"public constant: {constant.role}",
                "sha256": constant.sha256,
            }
            for constant in study.constants
        ),
        *_releases(report),
        *(
            {"@id": f"#{name}", "@type": "SoftwareApplication", "name": name, "version": number}
            | ({"license": {"@id": ours["@id"]}} if name == "reidscope" else {})
            for name, number in report.versions.items()
        ),
        {
            "@id": "#building",
            "@type": "CreateAction",
            "name": "Estimates from the noisy tables, and their figures",
            "endTime": report.issued_at.isoformat(),
            "instrument": [{"@id": f"#{name}"} for name in report.versions],
            "object": [{"@id": "#study"}, *({"@id": r["@id"]} for r in _releases(report))],
            "result": [{"@id": name} for name in sorted(files)],
        },
    ]
    said = {"@context": list(_CONTEXT), "@graph": graph}
    return (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode()


def _study(report: Report, study: Study) -> _Entity:
    return {
        "@id": "#study",
        "@type": "CreativeWork",
        "name": study.title,
        "description": study.question,
        "identifier": f"urn:sha256:{report.study_sha256}",
        "alternateName": study.study_id,
        "sha256": report.study_sha256,
        "dateCreated": study.issued_at.isoformat(),
        "hasPart": [{"@id": f"urn:sha256:{constant.sha256}"} for constant in study.constants],
    }


def _releases(report: Report) -> list[_Entity]:
    kind = "masked" if report.evidence.masked else "noisy"
    return [
        {
            "@id": f"#release-{site}",
            "@type": "CreativeWork",
            "name": f"{kind} tables released by {site}",
            "sha256": _sha256(peek_payload(envelope.encode())),
        }
        for site, envelope in signed_tables(report)
    ]


def _file(name: str, content: bytes) -> _Entity:
    place = name.rsplit("/", 1)[-1]
    return {
        "@id": name,
        "@type": "File",
        "name": _SAID.get(name, place),
        "encodingFormat": _KINDS[place.rsplit(".", 1)[-1]],
        "contentSize": str(len(content)),
        "sha256": _sha256(content),
    }


def _licence(name: str) -> _Entity:
    return {"@id": f"{_SPDX}{name}", "@type": "CreativeWork", "name": name}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
