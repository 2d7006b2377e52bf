"""The load of several servers is one list, the highest first, and servers that do not answer are named."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from parley.internal.v1 import chat_admin_pb2
from parley.internal.v1.admin_pb2 import RegisteredServer
from parley_command.admin.top import Load, describe_load, format_load
from servicekit.errors import ServiceUnavailable

FIRST, SECOND = "1" * 32, "2" * 32


def load(server_id: str, **lists: object) -> tuple[RegisteredServer, chat_admin_pb2.GetLoadResponse]:
    return RegisteredServer(service="chat", server_id=server_id), chat_admin_pb2.GetLoadResponse(**lists)  # type: ignore[arg-type]


def hot(conversation_id: str, rate: float) -> chat_admin_pb2.HotConversation:
    return chat_admin_pb2.HotConversation(conversation_id=conversation_id, entries_per_second=rate, members=3)


LOADS: Load = [
    load("chat-0", streams=4, hot_conversations=[hot(FIRST, 1.5)]),
    load(
        "chat-1",
        owned_conversations=7,
        hot_conversations=[hot(SECOND, 20.25), hot("3" * 32, 0.1)],
        deep_outboxes=[
            chat_admin_pb2.DeepOutbox(user_id=FIRST, device_id=SECOND, queued_bytes=5000, silence=Duration(seconds=70))
        ],
        slow_lanes=[
            chat_admin_pb2.SlowLane(
                user_id=FIRST,
                device_id=SECOND,
                conversation_id=SECOND,
                oldest_send_age=Duration(seconds=3),
                waiting_sends=2,
                owner_server_id="chat-0",
            )
        ],
    ),
    (RegisteredServer(service="chat", server_id="chat-2"), ServiceUnavailable("a chat server does not answer")),
]


def test_text_has_the_lists_of_all_servers() -> None:
    assert format_load(LOADS, 2) == [
        "server  streams          connected users  owned conversations  peer streams",
        "chat-0  4                0                0                    0",
        "chat-1  0                0                7                    0",
        "chat-2  does not answer",
        "",
        "Hottest conversations, entries per second in the last 10 s",
        "conversation                      entries/s  members  queued  server",
        f"{SECOND}  20.2       3        0       chat-1",
        f"{FIRST}  1.5        3        0       chat-0",
        "",
        "Deepest outboxes, bytes that a device has not read",
        "user                              device                            unread   not reading for  server",
        f"{FIRST}  {SECOND}  4.9 KiB  1 min 10 s       chat-1",
        "",
        "Slowest lanes, age of the oldest send without an answer",
        "conversation                      user                              oldest  sends  owner   server",
        f"{SECOND}  {FIRST}  3.0 s   2      chat-0  chat-1",
    ]


def test_json_names_the_server_of_each_element() -> None:
    described = describe_load(LOADS, 1)
    assert described["servers"] == [
        {"server_id": "chat-0", "streams": 4, "connected_users": 0, "owned_conversations": 0, "peer_streams": 0},
        {"server_id": "chat-1", "streams": 0, "connected_users": 0, "owned_conversations": 7, "peer_streams": 0},
        {"server_id": "chat-2", "error": "SERVICE_UNAVAILABLE"},
    ]
    assert described["hot_conversations"] == [
        {
            "conversation_id": SECOND,
            "entries_per_second": 20.25,
            "members": 3,
            "queued_sends": 0,
            "server_id": "chat-1",
        }
    ]


def test_idle_deployment_has_no_rows() -> None:
    assert format_load([load("chat-0")], 10)[3:] == [
        "Hottest conversations, entries per second in the last 10 s",
        "none",
        "",
        "Deepest outboxes, bytes that a device has not read",
        "none",
        "",
        "Slowest lanes, age of the oldest send without an answer",
        "none",
    ]
