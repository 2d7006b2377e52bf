"""AdminService: the state of this server, its log level and its drain, for operators."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Final

from parley.internal.v1 import admin_pb2
from servicekit.audit import AuditRule, AuditTable
from servicekit.clock import Clock
from servicekit.config import describe_settings
from servicekit.durations import to_duration, to_timestamp
from servicekit.etcd import Etcd, EtcdUnreachable
from servicekit.lifecycle import Lifecycle
from servicekit.log_levels import LogLevels
from servicekit.membership import Membership
from servicekit.rpc import Call
from servicekit.server_list import encode_server, list_servers
from servicekit.settings import ServiceSettings

ADMIN: Final = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
AUDITED: Final[AuditTable] = {
    "SetLogLevel": AuditRule(
        "log_level_change", details=lambda request, _: {"level": _level_name(request.level), **_seconds(request)}
    ),
    "DrainServer": AuditRule("server_drain"),
}
_PREFIX: Final = "LOG_LEVEL_"


class AdminServicer:
    """Serves AdminService for a server of `service`."""

    def __init__(
        self,
        service: str,
        settings: ServiceSettings,
        membership: Membership,
        etcd: Etcd,
        lifecycle: Lifecycle,
        clock: Clock,
    ) -> None:
        self._service = service
        self._settings = settings
        self._membership = membership
        self._etcd = etcd
        self._lifecycle = lifecycle
        self._levels = LogLevels(settings.log_level, clock)

    async def DescribeServer(self, _: admin_pb2.DescribeServerRequest, __: Call) -> admin_pb2.DescribeServerResponse:
        """Return the state of this server, its settings, and its view of the ring."""
        me, end_ms = self._membership.me, self._levels.end_ms
        return admin_pb2.DescribeServerResponse(
            service=self._service,
            server_id=me.server_id,
            version=version("parley"),
            commit=self._settings.commit,
            start_time=to_timestamp(me.started_ms),
            state=admin_pb2.ServerState.Value(f"SERVER_STATE_{self._lifecycle.state.name}"),
            log_level=_level_of(self._levels.current),
            log_level_end_time=to_timestamp(end_ms) if end_ms is not None else None,
            settings=[admin_pb2.Setting(name=n, value=v) for n, v in describe_settings(self._settings).items()],
            ring=self._describe_ring(),
        )

    async def ListServers(self, _: admin_pb2.ListServersRequest, __: Call) -> admin_pb2.ListServersResponse:
        """Return the registered servers of all services."""
        try:
            return admin_pb2.ListServersResponse(servers=await list_servers(self._etcd), complete=True)
        except EtcdUnreachable:
            members = sorted(self._membership.registered.values(), key=lambda member: member.server_id)
            return admin_pb2.ListServersResponse(servers=[encode_server(self._service, each) for each in members])

    async def SetLogLevel(self, request: admin_pb2.SetLogLevelRequest, _: Call) -> admin_pb2.SetLogLevelResponse:
        """Change the log level, or restore that of the settings."""
        previous = _level_of(self._levels.current)
        if request.level:
            duration_s = request.duration.ToMilliseconds() / 1000 if request.HasField("duration") else None
            self._levels.change(_level_name(request.level), duration_s)
        else:
            self._levels.restore()
        end_ms = self._levels.end_ms
        end_time = to_timestamp(end_ms) if end_ms is not None else None
        return admin_pb2.SetLogLevelResponse(previous_level=previous, end_time=end_time)

    async def DrainServer(self, _: admin_pb2.DrainServerRequest, __: Call) -> admin_pb2.DrainServerResponse:
        """Begin the drain."""
        self._lifecycle.stop_requested.set()
        return admin_pb2.DrainServerResponse(drain_duration=to_duration(self._settings.drain_seconds))

    def _describe_ring(self) -> admin_pb2.RingDescription:
        ring = self._membership.ring
        shares = [admin_pb2.RingShare(server_id=name, share=share) for name, share in sorted(ring.shares().items())]
        skipped = self._membership.registered.keys() - ring.members.keys()
        return admin_pb2.RingDescription(revision=ring.revision, members=shares, skipped_server_ids=sorted(skipped))


def _level_name(level: admin_pb2.LogLevel.ValueType) -> str:
    """Return the name of a level in lower case; `default` for that of the settings."""
    return admin_pb2.LogLevel.Name(level).removeprefix(_PREFIX).lower() if level else "default"


def _level_of(name: str) -> admin_pb2.LogLevel.ValueType:
    """Return a level of the logging module; unspecified for one that the contract does not list, such as critical."""
    # `warn` is another name of warning.
    number = logging.getLevelNamesMapping()[name.upper()]
    found: dict[str, admin_pb2.LogLevel.ValueType] = dict(admin_pb2.LogLevel.items())
    return found.get(_PREFIX + logging.getLevelName(number), admin_pb2.LOG_LEVEL_UNSPECIFIED)


def _seconds(request: admin_pb2.SetLogLevelRequest) -> dict[str, float]:
    return {"seconds": request.duration.ToMilliseconds() / 1000} if request.HasField("duration") else {}
