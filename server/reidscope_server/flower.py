"""The coordinator's only words with Flower: its fleet door, and rounds over an in-process Grid.

Flower's Fleet API and link state run inside this process. Control and Runtime APIs, app bundles
and Flower's own commands are never started. The fleet door demands the site's client certificate;
certificate, node and sender must be one site; a body's size is checked before it is read. Flower's
identity is trusted for nothing beyond that: a Release speaks through its signature.

Flower delivers at most once, so a query is pushed anew until the answer is stored.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

# Flower reads the two switches above when it is imported.
import uvicorn
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import HTTPException
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.error import ApiErrorCode, FlowerError, http_error_translator
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_MEDIA_TYPE, PROTOBUF_REQUEST_TYPES
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.config_loader import (
    get_federation_manager,
    get_objectstore_linkstate_factories,
)
from flwr.superlink.grid import HttpGrid
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import Response

from reidscope_protocols.errors import MalformedError, TransportError
from reidscope_protocols.wire import unpad
from reidscope_server.fleet_door import PATHS, PeerProtocol, fleet_app, run_quietly

# Flower's log lines name node ids and nothing that a person needs; its errors reach us as raised.
logging.getLogger("flwr").setLevel(logging.CRITICAL)

_QUERY = "query.release"
_KEPT_SECONDS = 75
_NODE_LEASE_SECONDS = 30
_BEAT_SECONDS = 10
_MESSAGE_SECONDS = 120.0
_PENDING_SECONDS = 100.0
"""Shorter than a message lives: Flower's state in memory fails on one that it has dropped."""
_ASK_AGAIN_SECONDS = 5.0
_START_SECONDS = 20
_PATIENCE_SECONDS = 30.0
_LARGEST_REPLY = 16  # objects; ours has three
_WITH_STORE = frozenset({"pull_messages", "confirm_message_received"})
IN_MEMORY = ":flwr-in-memory:"
"""Flower's own name for a state that ends with the process (docs/adr/0020)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSite:
    """One site as the fleet door knows it.

    Attributes
    ----------
    greeted : bool
        Whether it has agreed on versions over the control port.
    """

    name: str
    certificate_sha256: str
    transport_key: bytes
    greeted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one site answered to one query: the content of its frame, unread."""

    site: str
    study_sha256: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of the door's own certificate, its key, and the CA that sites' must be from."""

    certificate: str
    key: str
    authority: str


class Fleet:
    """Flower's link state, its fleet door, and the one run through which queries go."""

    def __init__(self, database: str, sites: Callable[[], tuple[FleetSite, ...]]) -> None:
        _, self._factory = get_objectstore_linkstate_factories(database, get_federation_manager())
        self._state = self._factory.state()
        self._sites = sites
        self._nodes: dict[str, int] = {}
        self._pending: dict[str, tuple[str, str, float]] = {}
        self._not_before: dict[str, float] = {}
        self._asked: frozenset[str] = frozenset()
        self._restarted: set[str] = set()
        self._ended = threading.Event()
        self._enrolling = threading.Lock()

    @contextmanager
    def door(self, host: str, port: int, tls: TlsFiles) -> Iterator[None]:
        """Listen for the block.

        Raises
        ------
        TransportError
            The port could not be opened.
        """
        config = uvicorn.Config(
            self._app(),
            host=host,
            port=port,
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            # Longer than an agent waits between two pulls: a line is not cut under its next one.
            timeout_keep_alive=_KEPT_SECONDS,
            ssl_certfile=tls.certificate,
            ssl_keyfile=tls.key,
            ssl_ca_certs=tls.authority,
            ssl_cert_reqs=ssl.CERT_REQUIRED,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        config.load()
        # Safety: `ssl_certfile` is set, so load() has made a context.
        assert config.ssl is not None
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls = config.ssl
        server = uvicorn.Server(config)
        thread = threading.Thread(target=run_quietly, args=(server,), name="fleet", daemon=True)
        thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise TransportError(
                    "fleet port",
                    got="a port that could not be opened",
                    expected=f"port {port} free on this host",
                    do="stop what listens there, or choose another port with init",
                )
            time.sleep(0.05)
        try:
            yield
        finally:
            self._ended.set()
            server.should_exit = True
            thread.join(timeout=_START_SECONDS)

    def renew(self, tls: TlsFiles, roots_pem: str) -> None:
        """Take another certificate and more roots, for every handshake from now on.

        A root that ended stays known to TLS until the next start; its certificates are no longer
        in the table of sites, and open nothing.
        """
        self._tls.load_cert_chain(tls.certificate, tls.key)
        self._tls.load_verify_locations(cadata=roots_pem)

    def begin(self) -> None:
        """Open the one Flower run of this process and keep it alive until the door closes."""
        run_id = self._state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        run = self._state.get_run_info(run_ids=[run_id])[0]
        task_id = run.primary_task_id
        if not (self._state.claim_task(task_id) and self._state.activate_task(task_id)):
            raise TransportError(
                "round",
                got="a Flower run that did not start",
                expected="a running one",
                do="start again, and report it",
            )
        task = self._state.get_tasks(task_ids=[task_id])[0]
        # Flower keeps its process-wide identity here; a Message cannot be built without it.
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run_id, task_id, 1
        self._grid = _InProcessGrid(self._state, task, run)
        beat = threading.Thread(target=self._beat, args=(task_id,), name="beat", daemon=True)
        beat.start()

    def ask(self, wanted: Mapping[str, str]) -> None:
        """Push a query to each online site that has none under way.

        Parameters
        ----------
        wanted : mapping of str to str
            Study sha256 by site name.
        """
        with self._enrolling:
            self._enrol_nodes()
        now = time.monotonic()
        # What an agent took with it when it was killed never comes back: it is asked anew at once.
        again = {self._restarted.pop() for _ in range(len(self._restarted))}
        for message, (site, _, until) in tuple(self._pending.items()):
            if until <= now or site in again:
                del self._pending[message]
                self._grid.forget(message)
        busy = {site for site, _, _ in self._pending.values()}
        online = {node.node_id for node in self._grid.get_nodes() if node.status == "online"}
        queries = []
        for site, study in wanted.items():
            node = self._nodes.get(site)
            early = now < self._not_before.get(site, 0.0)
            if node is None or node not in online or site in busy or early:
                continue
            self._not_before[site] = now + _ASK_AGAIN_SECONDS
            query = Message(
                RecordDict({"query": ConfigRecord({"study": study})}),
                dst_node_id=node,
                message_type=_QUERY,
                ttl=_MESSAGE_SECONDS,
            )
            queries.append((site, study, query))
        # Known before it is there: a pull that comes in between must look.
        self._asked = frozenset(busy | {site for site, *_ in queries})
        pushed = self._grid.push_messages([query for *_, query in queries])
        for (site, study, _), message in zip(queries, pushed, strict=True):
            if message:
                self._pending[message] = (site, study, now + _PENDING_SECONDS)

    def replies(self) -> tuple[Reply, ...]:
        """Collect what came in; a Flower error is nobody's answer and is asked again."""
        if not self._pending:
            return ()
        collected = []
        messages = self._grid.pull_messages(set(self._pending))
        for lost in self._grid.take_lost():
            self._pending.pop(lost, None)
        for message in messages:
            asked = self._pending.pop(message.metadata.reply_to_message_id, None)
            if asked is None or message.has_error():
                continue
            site, study, _ = asked
            if message.metadata.src_node_id != self._nodes.get(site):
                continue
            content = _content(message)
            if content is not None:
                collected.append(Reply(site=site, study_sha256=study, content=content))
        return tuple(collected)

    def _beat(self, task_id: int) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            self._state.acknowledge_task_heartbeat(task_id)
        self._state.finish_task(task_id, "completed", "")

    def _enrol_nodes(self) -> None:
        """Give every site of the table its node, by the key of its certificate.

        A site whose keys were followed by others comes twice, the one that holds last.
        """
        nodes = {}
        for site in self._sites():
            public = _node_key(site)
            nodes[site.name] = self._state.get_node_id_by_public_key(
                public
            ) or self._state.create_node(
                NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public, _NODE_LEASE_SECONDS, name=site.name
            )
        # What another key's node was asked never comes back: it is asked anew at once.
        self._restarted |= {
            name for name, node in nodes.items() if self._nodes.get(name, node) != node
        }
        self._nodes.update(nodes)

    def _app(self) -> Callable[..., Any]:
        self._enrol_nodes()
        return fleet_app(self._site_of_certificate, self._answer)

    async def _answer(self, scope: Mapping[str, Any], body: bytes) -> Response:
        """Answer one call; what is refused or fails is said in Flower's own codes."""

        async def call(request: Request) -> Response:
            return self._call(request, body)

        # Where Flower's checks look for its state.
        flower = SimpleNamespace(state=SimpleNamespace(linkstate_factory=self._factory))
        request = Request({**scope, "app": flower, "state": {}})
        response: Response = await http_error_translator(request, call)
        return response

    def _call(self, request: Request, body: bytes) -> Response:
        """Check a call as Flower's server does, and by certificate; let Flower's handler do it."""
        path, site = request.scope["path"], request.scope["reidscope_site"]
        if request.headers.get("content-type") != PROTOBUF_MEDIA_TYPE:
            raise FlowerError(ApiErrorCode.UNSUPPORTED_CONTENT_TYPE, "not protobuf")
        try:
            said = PROTOBUF_REQUEST_TYPES["POST", path].FromString(body)
        except DecodeError as error:
            raise FlowerError(ApiErrorCode.INVALID_PROTOBUF_PAYLOAD, "not protobuf") from error
        request.state.protobuf_request = said
        authenticate_node(request)
        if not self._one_site(said, site):
            raise HTTPException(403, "not this site")
        if isinstance(said, PullMessagesRequest) and site.name not in self._asked:
            answered = PullMessagesResponse()  # most of all calls: nothing to look for
        else:
            answered = _HANDLERS[path](said, self._state)
        return Response(answered.SerializeToString(), media_type=PROTOBUF_MEDIA_TYPE)

    def _site_of_certificate(self, sha256: str) -> FleetSite | None:
        for site in self._sites():
            if site.certificate_sha256 == sha256 and site.greeted:
                return site
        return None

    def _one_site(self, said: Any, site: FleetSite) -> bool:
        """Certificate, node id and sender must be one site."""
        own = _node_key(site)
        node = self._state.get_node_id_by_public_key(own)
        if node is None:
            with self._enrolling:
                self._enrol_nodes()
            node = self._state.get_node_id_by_public_key(own)
        key = getattr(said, "public_key", None)
        named = getattr(getattr(said, "node", None), "node_id", 0) or getattr(said, "node_id", 0)
        honest: bool = key == own if key is not None else named == node
        if isinstance(said, PushMessagesRequest):
            honest = honest and all(
                message.metadata.src_node_id == node for message in said.messages_list
            )
            # What a reply holds lies in this process's memory until it is taken or given up.
            honest = honest and all(
                sum(1 for _ in iterate_object_tree(tree)) <= _LARGEST_REPLY
                for tree in said.message_object_trees
            )
        restarts = honest and isinstance(said, ActivateNodeRequest)
        if restarts and self._state.deactivate_node(node):
            # Its certificate proves that this is the site: an agent that was killed and started
            # again need not wait until Flower's lease of the one before it has ended.
            self._restarted.add(site.name)
        return honest


def _handler(path: str) -> Callable[[Any, Any], Any]:
    """Find Flower's handler of a call: request and link state in, reply out."""
    name = path.rpartition("/")[2].replace("-", "_")
    flowers = getattr(fleet_handlers, name)
    if name in _WITH_STORE:
        return lambda said, state: flowers(request=said, state=state, store=state.object_store)
    return lambda said, state: flowers(request=said, state=state)


_HANDLERS = {path: _handler(path) for path in PATHS}


class _InProcess:
    """What HttpGrid calls, answered by Flower's handlers in this process instead of over HTTP."""

    def __init__(self, state: Any, task: Any) -> None:
        self._state, self._task = state, task

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        handlers = {
            "GetNodes": runtime_handlers.get_nodes,
            "PushMessages": runtime_handlers.push_messages,
            "PushObject": runtime_handlers.push_object,
        }
        handler = handlers[name]
        return lambda request: handler(request, self._state, self._task)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coming:
    """A reply that was announced: to what, its objects, and when it was."""

    query: str
    objects: tuple[str, ...]
    since: float


class _InProcessGrid(HttpGrid):  # type: ignore[misc]  # Flower ships no types that mypy follows
    def __init__(self, state: Any, task: Any, run: Any) -> None:
        super().__init__(token="in-process")  # noqa: S106  # no token: nothing is authenticated here
        self._client = _InProcess(state, task)
        self._state, self._task = state, task
        self._coming: dict[str, _Coming] = {}
        self._lost: list[str] = []
        self.set_run(run)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Take the replies that have come whole, and wait for none.

        Flower's own would wait, in the round's thread, for what a cut connection never brings.
        """
        asked = set(message_ids) - {coming.query for coming in self._coming.values()}
        now = time.monotonic()
        for said, tree in self._announced(asked):
            self._coming[said.metadata.message_id] = _Coming(
                query=said.metadata.reply_to_message_id,
                objects=tuple(node.object_id for node in iterate_object_tree(tree)),
                since=now,
            )
        taken = []
        for message_id, coming in tuple(self._coming.items()):
            held = {name: self._state.get_object(self.run.run_id, name) for name in coming.objects}
            whole = all(held.values())
            if not whole and None not in held.values() and now - coming.since < _PATIENCE_SECONDS:
                continue
            del self._coming[message_id]
            self._state.object_store.delete(message_id)
            message = _inflated(message_id, held) if whole else None
            if message is None:
                self._lost.append(coming.query)
            else:
                taken.append(message)
        return taken

    def _announced(self, asked: set[str]) -> Iterator[tuple[Any, Any]]:
        if not asked:
            return
        request = PullAppMessagesRequest(message_ids=asked)
        try:
            found = runtime_handlers.pull_messages(request, self._state, self._task)
        except KeyError:
            # The host's clock jumped, and Flower's state dropped a query before we did.
            self._lost += asked
            return
        yield from zip(found.messages_list, found.message_object_trees, strict=True)

    def take_lost(self) -> tuple[str, ...]:
        """Name queries whose replies never came whole, or cannot be read; each is named once."""
        lost, self._lost = tuple(self._lost), []
        return lost

    def forget(self, message_id: str) -> None:
        """Drop a query that nobody waits for any more."""
        self._state.delete_messages({message_id})
        self._state.object_store.delete(message_id)


def _inflated(message_id: str, held: dict[str, bytes]) -> Message | None:
    """Put a reply together; None where its objects are no reply."""
    try:
        message = inflate_object_from_contents(message_id, held)
    except Exception:  # noqa: BLE001  # whatever bytes a site sent, they end no round
        return None
    if not isinstance(message, Message):
        return None
    # Flower's own grid sets a received message's id the same way: there is no public setter.
    message.metadata.__dict__["_message_id"] = message_id
    return message


def _content(message: Message) -> bytes | None:
    """Take the frame out of a reply; anything else is no answer."""
    record = message.content.get("answer") if message.has_content() else None
    frame = record.get("frame") if isinstance(record, ConfigRecord) else None
    try:
        return unpad(frame) if isinstance(frame, bytes) else None
    except MalformedError:
        return None


def _node_key(site: FleetSite) -> bytes:
    return _raw_key(site.transport_key)


@lru_cache(maxsize=4096)
def _raw_key(pem: bytes) -> bytes:
    key: bytes = public_key_to_bytes(load_pem_public_key(pem))
    return key
