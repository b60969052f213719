"""A Flower server in an adversary's hand: every path is open, and every run carries a bundle.

Flower's own fleet router and link state, with real bundles (FABs) stored for real runs: whoever
asks for one is given it. `paths` notes each request that came, before anything is answered.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import NOOP_FLWR_AID
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.error import http_error_translator
from flwr.supercore.fab import Fab
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router as fleet_router
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from reidscope_server import flower
from reidscope_server.flower import Fleet, Reply

_PROJECT = """
[project]
name = "{name}"
version = "1.0.0"
license = {{ text = "none" }}
dependencies = []
[tool.flwr.app]
publisher = "nobody"
fab-format-version = 1
flwr-version-target = "1.41.0"
[tool.flwr.app.components]
serverapp = "{module}:app"
clientapp = "{module}:app"
"""
_CODE = """
import pathlib
pathlib.Path({marker!r}).write_text("ran")
from flwr.clientapp import ClientApp
app = ClientApp()
@app.query("release")
def query(msg, context):
    pathlib.Path({marker!r}).write_text("was asked")
"""


def bundles(marker: Path) -> dict[str, bytes]:
    """Four bundles: a module named like ours, an oversized one, one that climbs, a plain one."""
    code = _CODE.format(marker=str(marker))
    climbing = f"../../../../../../../../{marker.parent}/climbed.py"
    return {
        "a module named like ours": _zipped(
            "reidscope_site.flower", {"reidscope_site/__init__.py": code,
                                      "reidscope_site/flower.py": code}),
        "oversized": _zipped("big", {"big.py": code, "noise.bin": "x" * (12 << 20)}, level=0),
        "one that climbs out of its folder": _zipped(
            "climbed", {climbing: code, "climbed.py": code}),
        "plain and hostile": _zipped("hostile", {"hostile.py": code}),
    }  # fmt: skip


def _zipped(module: str, files: dict[str, str], *, level: int = 9) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as bundle:
        bundle.writestr("pyproject.toml", _PROJECT.format(name=module, module=module))
        for name, text in files.items():
            bundle.writestr(name, text)
    return held.getvalue()


class HostileFleet(Fleet):
    """The shipped fleet without its door: each run has a bundle, and nothing is forbidden."""

    paths: list[str]
    received: list[tuple[str, bytes]]
    """Every byte of each request, headers and body, as it came out of the TLS connection."""
    runs: dict[str, tuple[int, str]]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.paths, self.received, self.runs, self._grids = [], [], {}, {}

    def offer(self, name: str, bundle: bytes) -> None:
        """Start a run around a bundle."""
        digest = hashlib.sha256(bundle).hexdigest()
        self._state.store_fab(Fab(digest, bundle, {}))
        run_id = self._state.create_run(
            "nobody/" + digest[:8], "1.0.0", digest, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID,
            TaskType.SERVER_APP,
        )  # fmt: skip
        run = self._state.get_run_info(run_ids=[run_id])[0]
        assert run.fab_hash == digest
        self._state.claim_task(run.primary_task_id)
        self._state.activate_task(run.primary_task_id)
        task = self._state.get_tasks(task_ids=[run.primary_task_id])[0]
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run_id, task.task_id, 1
        self.runs[name] = run_id, digest
        self._grids[name] = flower._InProcessGrid(self._state, task, run)

    def push(self, name: str, content: dict[str, Any], message_type: str) -> str:
        """Push one message of a run to the first site's node."""
        self._enrol_nodes()
        (node, *_) = self._nodes.values()
        TaskIdentity.run_id = self.runs[name][0]
        message = Message(
            RecordDict({"query": ConfigRecord(content)}),
            dst_node_id=node,
            message_type=message_type,
            ttl=120.0,
        )
        (pushed,) = self._grids[name].push_messages([message])
        return str(pushed)

    def reply(self, name: str, message: str, seconds: float = 60) -> Reply:
        """Wait for the answer to a message."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for answered in self._grids[name].pull_messages({message}):
                assert not answered.has_error(), answered.error
                content = flower._content(answered)
                assert content is not None
                return Reply(site="north", study_sha256="", content=content)
            time.sleep(0.2)
        error = f"no answer to a message of the run with a bundle: {name}"
        raise AssertionError(error)

    def node_online(self) -> bool:
        self._enrol_nodes()
        return any(node.status == "online" for node in self._grids_any().get_nodes())

    def _grids_any(self) -> Any:
        return next(iter(self._grids.values()))

    def _app(self) -> Callable[..., Any]:
        self._enrol_nodes()
        app = FastAPI(
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
                Middleware(ProtobufTranslationMiddleware),
                Middleware(NodeAuthMiddleware),
            ],
        )
        app.state.linkstate_factory = self._factory
        app.state.enable_supernode_auth = True
        app.include_router(fleet_router)

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.paths.append(scope["path"])
                head = b"\n".join(b": ".join(pair) for pair in scope["headers"])
                place = len(self.received)
                self.received.append((scope["path"], head))

                async def kept() -> Any:
                    part = await receive()
                    path, before = self.received[place]
                    self.received[place] = path, before + part.get("body", b"")
                    return part

                await app(scope, kept, send)

        return noted
