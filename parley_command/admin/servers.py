"""`parley admin servers`, `ring`, `log-level` and `drain`: the servers, one by one and as a ring."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from parley.internal.v1 import admin_pb2, chat_admin_pb2
from parley.internal.v1.admin_pb2_grpc import AdminServiceStub
from parley.internal.v1.chat_admin_pb2_grpc import ChatAdminServiceStub
from parley_client.cli.command import print_json, print_line
from parley_client.cli.errors import CommandError
from parley_command.admin.fleet import Fleet, Server, is_timeout
from parley_command.admin.tables import align, format_age, format_seconds, to_fields
from servicekit.durations import to_duration
from servicekit.errors import ServiceUnavailable
from servicekit.failure import Failure

# Beyond the time in which clients move: the end of accepted work, and of the process.
DRAIN_MARGIN_S: Final = 20.0
_POLL_INTERVAL_S: Final = 0.2
_DESCRIBE_TIMEOUT_S: Final = 3.0


async def show_servers(fleet: Fleet, as_json: bool) -> None:
    """Print a line for each registered server, also for those that do not answer."""
    answers = await fleet.call_all(fleet.servers, lambda server: fleet.describe(server, _DESCRIBE_TIMEOUT_S))
    if as_json:
        for server, answer in answers:
            described = {"error": answer.reason} if isinstance(answer, Failure) else to_fields(answer)
            print_json({**to_fields(server), **described})
        return
    header = ("service", "server", "state", "version", "up for", "log level", "ring", "address", "internal address")
    for line in align(header, [_server_row(server, answer) for server, answer in answers]):
        print_line(line)


async def show_server(fleet: Fleet, name: str, as_json: bool) -> None:
    """Print the description of a server with its settings."""
    server = fleet.find(name)
    described = await fleet.describe(server)
    if as_json:
        print_json({**to_fields(server), **to_fields(described)})
        return
    facts = [
        ("state", _state_name(described.state)),
        ("version", f"{described.version} {described.commit}".rstrip()),
        ("up for", format_age(described.start_time)),
        ("log level", _level_name(described.log_level)),
        ("address", server.address),
        ("internal address", server.internal_address),
        ("ring revision", str(described.ring.revision)),
    ]
    print_line(f"{server.service} server {server.server_id}", style="bold")
    facts += [(each.name, each.value) for each in described.settings]
    for line in align(facts[0], facts[1:]):
        print_line(line)


async def show_ring(fleet: Fleet, service: str, as_json: bool) -> None:
    """Print the ring of a service as each of its servers sees it."""
    servers = fleet.list_of(service)
    answers = await fleet.call_all(servers, lambda server: fleet.describe(server, _DESCRIBE_TIMEOUT_S))
    rings = {server.server_id: answer.ring for server, answer in answers if not isinstance(answer, Failure)}
    if not rings:
        raise CommandError(f"No {service} server answers.")
    newest = max(rings.values(), key=lambda ring: ring.revision)
    shares = {each.server_id: each.share for each in newest.members}
    ids = sorted({*shares, *(server.server_id for server in servers)})
    if as_json:
        print_json({"service": service, "rings": {name: to_fields(ring) for name, ring in sorted(rings.items())}})
        return
    print_line(f"The ring of {service} has {len(shares)} members by revision {newest.revision}.", style="bold")
    rows = [
        (name, f"{shares[name]:.1%}" if name in shares else "not a member", *_view(rings.get(name), newest))
        for name in ids
    ]
    for line in align(("server", "share", "its revision", "its view"), rows):
        print_line(line)


async def locate(fleet: Fleet, user: str, conversation_id: str, as_json: bool) -> None:
    """Print the home of a user, or the owner of a conversation."""
    user_id = await fleet.find_user(user) if user else ""
    key = {"user_id": user_id} if user else {"conversation_id": conversation_id}
    request = chat_admin_pb2.LocateKeyRequest(**key)
    found = await fleet.call_any("chat", ChatAdminServiceStub, "LocateKey", request)
    if not found.server_id:
        raise CommandError("The ring has no members.")
    if as_json:
        print_json({**key, **to_fields(found)})
        return
    role, kept = ("home of user", user_id) if user else ("owner of conversation", conversation_id)
    print_line(f"The {role} {kept} is {found.server_id}, by revision {found.ring_revision} of the ring.")


async def set_log_level(fleet: Fleet, name: str, level: str, duration_s: int | None, as_json: bool) -> None:
    """Change the log level of a server; `default` restores that of its settings."""
    server = fleet.find(name)
    request = admin_pb2.SetLogLevelRequest()
    if level != "default":
        request.level = admin_pb2.LogLevel.Value(f"LOG_LEVEL_{level.upper()}")
    if duration_s is not None:
        request.duration.CopyFrom(to_duration(duration_s))
    response = await fleet.call(server, AdminServiceStub, "SetLogLevel", request)
    if as_json:
        print_json(to_fields(response))
        return
    ends = f" for {format_seconds(duration_s)}" if duration_s is not None else ""
    previous = _level_name(response.previous_level)
    what = "that of its settings" if level == "default" else level
    print_line(f"The log level of {server.server_id} is {what}{ends}; it was {previous}.", style="green")


async def drain(fleet: Fleet, name: str, *, force: bool, wait: bool, as_json: bool) -> None:
    """Drain a server, and wait until it takes no calls unless `wait` is False.

    Raise CommandError if it is the only one of its service and `force` is False, or if it is not drained in time.
    """
    server = fleet.find(name)
    described = await fleet.describe(server)
    if {each.server_id for each in described.ring.members} <= {server.server_id} and not force:
        raise CommandError(
            f"{server.server_id} is the only {server.service} server: its clients could not move. Start another one "
            "first, or add --force."
        )
    response = await fleet.call(server, AdminServiceStub, "DrainServer", admin_pb2.DrainServerRequest())
    move_s = response.drain_duration.ToMilliseconds() / 1000
    if not as_json:
        print_line(f"{server.server_id} is draining: its clients move within {format_seconds(move_s)}, then it ends.")
    drain_s = await _wait_drained(fleet, server, described, move_s + DRAIN_MARGIN_S) if wait else None
    if as_json:
        fields = {"service": server.service, "server_id": server.server_id, "drained": drain_s is not None}
        print_json(fields if drain_s is None else {**fields, "seconds": round(drain_s, 3)})
    elif drain_s is not None:
        print_line(f"{server.server_id} is drained after {format_seconds(drain_s)}; its process ends.", style="green")


async def _wait_drained(
    fleet: Fleet, server: Server, described: admin_pb2.DescribeServerResponse, timeout_s: float
) -> float:
    """Return the seconds until the process of a server takes no calls; another one may run in its place by then."""
    began_at = time.monotonic()
    while (waited := time.monotonic() - began_at) < timeout_s:
        try:
            current = await fleet.describe(server, _DESCRIBE_TIMEOUT_S)
        except ServiceUnavailable as failure:
            # A server that is only slow still runs.
            if not is_timeout(failure):
                return waited
            continue
        if current.start_time != described.start_time:
            return waited
        await asyncio.sleep(_POLL_INTERVAL_S)
    raise CommandError(f"{server.server_id} still runs after {format_seconds(timeout_s)}; its log says why.")


def _server_row(server: Server, answer: Any) -> tuple[str, ...]:
    names = (server.service, server.server_id)
    addresses = (server.address, server.internal_address)
    if isinstance(answer, Failure):
        problem = "unreachable" if isinstance(answer, ServiceUnavailable) else answer.reason.lower()
        return (*names, problem, "", format_age(server.start_time), "", "", *addresses)
    level = _level_name(answer.log_level) + (" for a time" if answer.HasField("log_level_end_time") else "")
    version = f"{answer.version} {answer.commit[:12]}".rstrip()
    facts = (_state_name(answer.state), version, format_age(answer.start_time), level, str(answer.ring.revision))
    return (*names, *facts, *addresses)


def _view(ring: admin_pb2.RingDescription | None, newest: admin_pb2.RingDescription) -> tuple[str, str]:
    """Return the revision that a server sees, and how its ring differs from the newest one."""
    if ring is None:
        return "", "does not answer"
    own, expected = ({each.server_id for each in view.members} for view in (ring, newest))
    differences = [f"without {name}" for name in sorted(expected - own)]
    differences += [f"still with {name}" for name in sorted(own - expected)]
    differences += [f"skips {name}" for name in ring.skipped_server_ids if name in own | expected]
    return str(ring.revision), ", ".join(differences) or "the same"


def _state_name(state: admin_pb2.ServerState.ValueType) -> str:
    return admin_pb2.ServerState.Name(state).removeprefix("SERVER_STATE_").lower()


def _level_name(level: admin_pb2.LogLevel.ValueType) -> str:
    return admin_pb2.LogLevel.Name(level).removeprefix("LOG_LEVEL_").lower()
