"""Every part has its own port, and no two stacks share one."""

from __future__ import annotations

import socket

import pytest

from devstack.errors import SetupError
from devstack.ports import LOOPBACK, SEAWEEDFS_ADMIN_OFFSET, PortBlock, Ports, ReplicaPorts, is_free
from devstack.services import CHAT, SERVICES, Services, ServiceType

# As many services as a test may add to those of the product.
OTHERS: Services = tuple(ServiceType(f"other{number}", "other", "another server", ()) for number in range(4))
TABLE: Services = (CHAT, *OTHERS)


def all_ports(ports: Ports, services: Services = TABLE) -> list[int]:
    replicas = [
        ports.replica(services, service, number)
        for service in services
        for number in range(1, service.max_replicas + 1)
    ]
    taken = [port for each in replicas for port in (each.public, each.internal, each.metrics)]
    stores = [ports.mongod, ports.valkey, ports.etcd, ports.etcd_peer, *ports.seaweedfs]
    return [ports.door, ports.media, *taken, *stores, ports.envoy_admin]


def test_ports_of_parts_are_distinct_and_within_the_block() -> None:
    ports = all_ports(Ports(door=5100, media=5296, base=5100))
    assert len(set(ports)) == len(ports)
    assert [port for port in ports if not 5100 <= port < 5300] == [5294 + SEAWEEDFS_ADMIN_OFFSET]


def test_added_service_leaves_the_ports_of_others_unchanged() -> None:
    ports = Ports(door=1, media=2, base=5100)
    assert ports.replica(SERVICES, CHAT, 1) == ReplicaPorts(public=5101, internal=5121, metrics=5141)
    assert ports.replica(TABLE, CHAT, 1) == ports.replica(SERVICES, CHAT, 1)


@pytest.mark.parametrize("number", [0, CHAT.max_replicas + 1])
def test_replica_number_beyond_limit_is_refused(number: int) -> None:
    with pytest.raises(SetupError, match="can run 20 chat servers"):
        Ports(door=1, media=2, base=5100).replica(TABLE, CHAT, number)


def test_table_with_more_services_than_ports_is_refused() -> None:
    one_more = ServiceType("late", "late", "a late server", ())
    with pytest.raises(SetupError, match="need more than 180 ports, with those of late"):
        Ports(door=1, media=2, base=5100).replica((*TABLE, one_more), one_more, 1)


def test_listening_port_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_port_blocks_are_disjoint_and_below_ephemeral_ports() -> None:
    blocks = [PortBlock() for _ in range(5)]
    taken = [port for block in blocks for port in all_ports(block.ports)]
    assert len(set(taken)) == len(taken)
    assert max(taken) < 32_768
    for block in blocks:
        block.release()
