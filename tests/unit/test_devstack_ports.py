"""Every part has its own port, and no two stacks share one."""

from __future__ import annotations

import socket

import pytest

from devstack.errors import SetupError
from devstack.ports import LOOPBACK, MAX_CHAT_SERVERS, PortBlock, Ports, is_free


def all_ports(ports: Ports) -> list[int]:
    chat = [
        port
        for number in range(1, MAX_CHAT_SERVERS + 1)
        for port in (ports.chat(number), ports.mesh(number), ports.metrics(number))
    ]
    return [ports.door, *chat, ports.mongod, ports.valkey, ports.etcd, ports.etcd_peer, ports.envoy_admin]


def test_ports_of_parts_are_distinct_and_within_the_block() -> None:
    ports = all_ports(Ports(door=5100, base=5100))
    assert len(set(ports)) == len(ports)
    assert all(5100 <= port < 5200 for port in ports)


@pytest.mark.parametrize("number", [0, MAX_CHAT_SERVERS + 1])
def test_chat_server_number_beyond_limit_is_refused(number: int) -> None:
    with pytest.raises(SetupError, match="can run 20 chat servers"):
        Ports(door=1, base=5100).chat(number)


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
