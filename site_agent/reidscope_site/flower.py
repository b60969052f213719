"""The site's only words with Flower: wait for a query, answer it with stored bytes.

Flower's fleet client alone is used, over TLS 1.3 with the site's certificate. A bundle is never
fetched, no code of a message is ever run, and the answer's size is the same whatever it says.
Flower's identity is trusted for nothing: a Release speaks through its signature.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

# Flower reads the two switches above when it is imported.
from cryptography.hazmat.primitives import serialization
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    pull_and_inflate_object_from_tree,
    push_objects,
)
from flwr.supercore.interceptors.http.runtime_version import (
    RuntimeVersionHttpInterceptor,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from reidscope_protocols.errors import TransportError
from reidscope_protocols.wire import pad
from reidscope_site.fleet_line import FleetLine
from reidscope_site.pace import Pace

# Flower's own log lines stay out of the site's terminal; its errors reach us as raised.
logging.getLogger("flwr").setLevel(logging.CRITICAL)

_QUERY = "query.release"
_HEARTBEAT_SECONDS = 30.0
_POLL_SECONDS = 1.0
_SELDOM_SECONDS = 10.0
_RETRY_SECONDS = 3.0
_LARGEST_QUERY = 16  # objects; ours has three

Answer = Callable[[str], bytes]
"""Given a study's sha256, what goes into the reply's frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDoor:
    """Where the fleet port is and how this site shows who it is.

    Attributes
    ----------
    address : str
        `host:port`.
    ca_pem : str
        The pinned CA, the only root; two of them while one follows the other.
    certificate_file, key_file : str
        PEM files of the transport key (P-256), which is the Flower node's key as well.
    """

    address: str
    ca_pem: str
    certificate_file: str
    key_file: str


def answer_rounds(
    door: FleetDoor | Callable[[], FleetDoor],
    answer: Answer,
    *,
    stop: threading.Event,
    trouble: Callable[[bool], None],
) -> None:
    """Answer the coordinator's queries until `stop` is set; lost connections are tried again.

    Parameters
    ----------
    door : FleetDoor, or callable that returns one
        The pinned fleet port; a callable is asked before each connection, for keys follow one
        another, and may raise where there is to be none now.
    answer : callable
        Called with the study's sha256 of each query; never raises.
    trouble : callable
        Told True when the connection is lost and False when it stands.

    Privacy
    -------
    What leaves is `answer`'s bytes in a frame of constant size (docs/privacy.md, "The wire").
    """
    while not stop.is_set():
        try:
            now = door if isinstance(door, FleetDoor) else door()
            with _client(now) as client:
                _serve(client, now, answer, stop=stop, trouble=trouble)
        except Exception:  # noqa: BLE001  # whatever a message of Flower's made fail, the next one is answered
            # Refused, cut or restarted: the coordinator asks again, the answer is stored.
            trouble(True)
            # Never quite together: a coordinator that comes back meets all of its sites.
            stop.wait(_RETRY_SECONDS * random.uniform(1, 2))  # noqa: S311  # no secret


def _client(door: FleetDoor) -> FleetHttpClient:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=door.ca_pem)
    context.load_cert_chain(door.certificate_file, door.key_file)
    key = _transport_key(door)
    client = FleetHttpClient(
        f"https://{door.address}",
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(key, key.public_key()),
        ],
        verify=context,
    )
    client.close()
    # Flower's own line follows redirects and takes in replies of any size.
    client._client = FleetLine(context)  # noqa: SLF001  # Flower has no setting for it
    return client


def _transport_key(door: FleetDoor) -> Any:
    with open(door.key_file, "rb") as stream:  # noqa: PTH123  # the path came as Flower wants it
        return serialization.load_pem_private_key(stream.read(), None)


def _serve(
    client: FleetHttpClient,
    door: FleetDoor,
    answer: Answer,
    *,
    stop: threading.Event,
    trouble: Callable[[bool], None],
) -> None:
    public = public_key_to_bytes(_transport_key(door).public_key())
    activated = client.ActivateNode(
        ActivateNodeRequest(public_key=public, heartbeat_interval=_HEARTBEAT_SECONDS)
    )
    node = Node(node_id=activated.node_id)
    # Flower keeps its process-wide identity here; a Message cannot be built without it.
    TaskIdentity.node_id, TaskIdentity.task_id = node.node_id, 1
    trouble(False)
    pace = Pace(first=_POLL_SECONDS, last=_SELDOM_SECONDS)
    beat = time.monotonic()
    try:
        while not stop.is_set():
            pulled = client.PullMessages(PullMessagesRequest(node=node))
            if pulled.messages_list:
                _reply(client, node, pulled, answer)
                pace.stir()
                continue
            pace.looked()
            stop.wait(pace.seconds())
            if time.monotonic() - beat >= _HEARTBEAT_SECONDS / 2:
                beat = time.monotonic()
                client.SendNodeHeartbeat(
                    SendNodeHeartbeatRequest(node=node, heartbeat_interval=_HEARTBEAT_SECONDS)
                )
    finally:
        if stop.is_set():
            client.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))


def _reply(client: FleetHttpClient, node: Node, pulled: Any, answer: Answer) -> None:
    tree = pulled.message_object_trees[0]
    if sum(1 for _ in islice(iterate_object_tree(tree), _LARGEST_QUERY + 1)) > _LARGEST_QUERY:
        raise TransportError(
            "query",
            got=f"more than {_LARGEST_QUERY} objects",
            expected="a study's digest",
            do="ask the coordinator what it runs",
        )
    run_id = message_from_proto(pulled.messages_list[0]).metadata.run_id
    TaskIdentity.run_id = run_id
    query = pull_and_inflate_object_from_tree(
        tree,
        make_pull_object_fn_protobuf(client.PullObject, node, run_id),
        make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run_id),
        return_type=Message,
    )
    # Flower's own client sets a received message's id the same way: there is no public setter.
    query.metadata.__dict__["_message_id"] = tree.object_id
    reply = Message(
        RecordDict({"answer": ConfigRecord({"frame": pad(answer(_asked_study(query)))})}),
        reply_to=query,
    )
    reply.metadata.__dict__["_message_id"] = reply.object_id
    with no_object_id_recompute():
        objects, own_tree = get_all_nested_objects(reply), get_object_tree(reply)
        pushed = client.PushMessages(
            PushMessagesRequest(
                node=node,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[own_tree],
                clientapp_runtime_list=[0.0],
            )
        )
        push_objects(
            objects,
            make_push_object_fn_protobuf(client.PushObject, node, run_id, pushed.session_id),
            object_ids_to_push=set(pushed.objects_to_push),
        )


def _asked_study(query: Message) -> str:
    """Read the study's sha256 out of a query; anything unexpected reads as no study at all."""
    if query.metadata.message_type != _QUERY or not query.has_content():
        return ""
    record = query.content.get("query")
    asked = record.get("study") if isinstance(record, ConfigRecord) else None
    return asked if isinstance(asked, str) else ""
