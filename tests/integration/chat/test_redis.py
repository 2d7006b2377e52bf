"""A broken connection to Redis is reported as lost, whatever error the event loop raises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from devstack.stack import Stack
from servicekit.redis import MAX_CONNECTIONS, UvloopSafeConnection, UvloopSafeTlsConnection, connect_redis

pytestmark = pytest.mark.integration


class ClosedTransport:
    """A closed transport as uvloop leaves it."""

    def writelines(self, _: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None: ...


async def test_closed_transport_is_a_lost_connection(valkey: Stack) -> None:
    redis = connect_redis(valkey.redis_url)
    pool: Any = redis.connection_pool
    connection = await pool.get_connection()
    assert isinstance(connection, UvloopSafeConnection)
    connection._writer = ClosedTransport()  # type: ignore[assignment]
    with pytest.raises(ConnectionLost):
        await connection.send_command("PING")
    await pool.release(connection)
    assert await redis.ping()
    await redis.aclose()


async def test_concurrent_commands_wait_for_connections(valkey: Stack) -> None:
    client = connect_redis(valkey.redis_url)
    assert all(await asyncio.gather(*(client.ping() for _ in range(10 * MAX_CONNECTIONS))))
    await client.aclose()


def test_tls_url_uses_uvloop_safe_connection() -> None:
    pool: Any = connect_redis("rediss://127.0.0.1:1/0").connection_pool
    assert pool.connection_class is UvloopSafeTlsConnection
