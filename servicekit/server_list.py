"""The list of the servers of all services that are registered in etcd."""

from __future__ import annotations

from parley.internal.v1 import admin_pb2
from servicekit.durations import to_timestamp
from servicekit.etcd import Etcd
from servicekit.member_record import parse_records
from servicekit.ring import RingMember
from servicekit.ring_watcher import SERVICES_PREFIX


async def list_servers(etcd: Etcd) -> list[admin_pb2.RegisteredServer]:
    """Return the registered servers, in order of service and server id. Raise EtcdUnreachable."""
    found = (await etcd.list_prefix(SERVICES_PREFIX)).values
    servers = [
        encode_server(key.removeprefix(SERVICES_PREFIX).partition("/")[0], record.member)
        for key, value in found.items()
        for record in parse_records({key: value}).values()
    ]
    return sorted(servers, key=lambda server: (server.service, server.server_id))


def encode_server(service: str, member: RingMember) -> admin_pb2.RegisteredServer:
    """Return a member of the ring of `service` as a registered server."""
    return admin_pb2.RegisteredServer(
        service=service,
        server_id=member.server_id,
        address=member.address,
        internal_address=member.internal_address,
        start_time=to_timestamp(member.started_ms),
    )
