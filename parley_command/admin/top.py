"""`parley admin top`: the busiest conversations, streams and send lanes of all chat servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.live import Live
from rich.text import Text

from parley.internal.v1 import chat_admin_pb2
from parley.internal.v1.chat_admin_pb2_grpc import ChatAdminServiceStub
from parley_client.cli.command import out, print_json, print_line
from parley_command.admin.fleet import Fleet, Server
from parley_command.admin.tables import align, format_bytes, format_duration, to_fields
from servicekit.failure import Failure

_LOAD_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class _List:
    """A list of `GetLoadResponse`: its field, title and order, and the columns of the table."""

    field: str
    title: str
    sort_key: Callable[[Any], float]
    header: tuple[str, ...]
    row: Callable[[Any], tuple[str, ...]]


_LISTS = (
    _List(
        "hot_conversations",
        "Hottest conversations, entries per second in the last 10 s",
        lambda each: each.entries_per_second,
        ("conversation", "entries/s", "members", "queued"),
        lambda each: (
            each.conversation_id, f"{each.entries_per_second:.1f}", str(each.members), str(each.queued_sends)
        ),
    ),
    _List(
        "deep_outboxes",
        "Deepest outboxes, bytes that a device has not read",
        lambda each: each.queued_bytes,
        ("user", "device", "unread", "not reading for"),
        lambda each: (each.user_id, each.device_id, format_bytes(each.queued_bytes), format_duration(each.silence)),
    ),
    _List(
        "slow_lanes",
        "Slowest lanes, age of the oldest send without an answer",
        lambda each: each.oldest_send_age.ToMilliseconds(),
        ("conversation", "user", "oldest", "sends", "owner"),
        lambda each: (
            each.conversation_id,
            each.user_id,
            format_duration(each.oldest_send_age),
            str(each.waiting_sends),
            each.owner_server_id,
        ),
    ),
)  # fmt: skip


async def show_top(fleet: Fleet, limit: int, interval_s: float, *, once: bool, as_json: bool) -> None:
    """Print the load once, or again and again until Ctrl-C; only a terminal gets it again and again as text."""
    if as_json:
        while True:
            print_json(describe_load(await _fetch_load(fleet, limit), limit))
            if once:
                return
            sys.stdout.flush()
            await asyncio.sleep(interval_s)
    if once or not out.is_terminal:
        for line in format_load(await _fetch_load(fleet, limit), limit):
            print_line(line)
        return
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            lines = format_load(await _fetch_load(fleet, limit), limit)
            live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
            await asyncio.sleep(interval_s)


Load = list[tuple[Server, chat_admin_pb2.GetLoadResponse | Failure]]
"""The load of each chat server, or the failure of the call."""


async def _fetch_load(fleet: Fleet, limit: int) -> Load:
    request = chat_admin_pb2.GetLoadRequest(limit=limit)
    return await fleet.call_all(
        fleet.list_of("chat"),
        lambda server: fleet.call(server, ChatAdminServiceStub, "GetLoad", request, _LOAD_TIMEOUT_S),
    )


def describe_load(loads: Load, limit: int) -> dict[str, object]:
    """Return the load as fields of JSON: the servers, and each list with the server of every element."""
    servers = [
        {"server_id": server.server_id, "error": load.reason}
        if isinstance(load, Failure)
        else {"server_id": server.server_id, **_without_lists(to_fields(load))}
        for server, load in loads
    ]
    lists = {
        each.field: [{**to_fields(found), "server_id": server_id} for server_id, found in _merge(loads, each, limit)]
        for each in _LISTS
    }
    return {"servers": servers, **lists}


def format_load(loads: Load, limit: int) -> list[str]:
    """Return the load as lines of text."""
    header = ("server", "streams", "connected users", "owned conversations", "peer streams")
    lines = align(header, [_server_row(server, load) for server, load in loads])
    for each in _LISTS:
        found = list(_merge(loads, each, limit))
        lines += ["", each.title]
        rows = [(*each.row(one), server_id) for server_id, one in found]
        lines += align((*each.header, "server"), rows) if rows else ["none"]
    return lines


def _merge(loads: Load, which: _List, limit: int) -> Iterator[tuple[str, Any]]:
    """Yield the highest elements of a list of all servers, each with the id of its server."""
    found = [
        (server.server_id, each)
        for server, load in loads
        if not isinstance(load, Failure)
        for each in getattr(load, which.field)
    ]
    yield from sorted(found, key=lambda item: which.sort_key(item[1]), reverse=True)[:limit]


def _server_row(server: Server, load: chat_admin_pb2.GetLoadResponse | Failure) -> tuple[str, ...]:
    if isinstance(load, Failure):
        return (server.server_id, "does not answer", "", "", "")
    counts = (load.streams, load.connected_users, load.owned_conversations, load.peer_streams)
    return (server.server_id, *map(str, counts))


def _without_lists(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in {each.field for each in _LISTS}}
