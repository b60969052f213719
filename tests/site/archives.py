"""Archives over DICOMweb for tests: one that answers as it is told, and a site that asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

from reidscope_site.agent import Agent
from reidscope_site.config import Home, Policy, SiteConfig, write_new_home
from reidscope_site.enrol import make_keys

Answer = tuple[int, str, bytes]
JSON = "application/dicom+json"


@contextmanager
def answering(answer: Callable[[str, dict[str, list[str]], Any], Answer]) -> Iterator[str]:
    """Hold a server for the block; `answer` says what comes back for a path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parsed = urlsplit(self.path)
            status, kind, body = answer(parsed.path, parse_qs(parsed.query), self.headers)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/web"
    finally:
        server.shutdown()
        server.server_close()


def config(url: str, **more: Any) -> SiteConfig:
    return SiteConfig(name="north", dicomweb=url, **more)


def multipart(*bodies: bytes, boundary: str = "b") -> bytes:
    head = b"Content-Type: application/dicom\r\n\r\n"
    joined = b"".join(b"--%b\r\n%b%b\r\n" % (boundary.encode(), head, body) for body in bodies)
    return joined + f"--{boundary}--\r\n".encode()


def site(tmp_path: Path, url: str, **more: Any) -> Agent:
    home = Home(tmp_path / "home")
    write_new_home(home, config(url, **more), Policy(declared_people=20))
    make_keys(home)
    return Agent(home)


def served(folder: Path) -> Callable[[str, dict[str, list[str]], Any], Answer]:
    """Answer as an archive of the DICOM files in `folder`, with a metadata answer for each."""
    read = cache(pydicom.dcmread)

    def answer(path: str, query: dict[str, list[str]], _: object) -> Answer:
        held = [read(each) for each in sorted(folder.rglob("*.dcm"))]
        if path.endswith("/series"):
            wanted = [one for one in held if one.Modality == query["Modality"][0]]
            firsts = {one.SeriesInstanceUID: one for one in wanted}
            rows = [
                {
                    "0020000D": {"vr": "UI", "Value": [one.StudyInstanceUID]},
                    "0020000E": {"vr": "UI", "Value": [uid]},
                    "00201209": {
                        "vr": "IS",
                        "Value": [sum(each.SeriesInstanceUID == uid for each in wanted)],
                    },
                }
                for uid, one in firsts.items()
            ]
            return 200, JSON, json.dumps(rows[int(query["offset"][0]) :]).encode()
        series = path.split("/")[5]
        of_it = [one for one in held if one.SeriesInstanceUID == series]
        if path.endswith("/metadata"):
            headers = [one.to_json_dict() for one in of_it]
            for one in headers:
                del one["7FE00010"]
            return 200, JSON, json.dumps(headers).encode()
        files = [
            path.read_bytes()
            for path in sorted(folder.rglob("*.dcm"))
            if read(path).SeriesInstanceUID == series
        ]
        return 200, "multipart/related; boundary=b", multipart(*files)

    return answer
