"""A failure of Redis is reported as what it is: a lost connection, a refused command, or a pool without connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost
from structlog.testing import capture_logs

from devstack.stack import Stack
from servicekit import redis as servicekit_redis
from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable
from servicekit.redis import (
    MAX_CONNECTIONS,
    UvloopSafeConnection,
    UvloopSafeTlsConnection,
    connect_redis,
    redis_errors,
)

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


async def test_refused_command_is_logged(valkey: Stack) -> None:
    client = connect_redis(valkey.redis_url)
    await client.set("text", "not a hash")
    with (
        capture_logs() as logs,
        pytest.raises(StoreUnavailable, match="Redis refused a command"),
        redis_errors(),
    ):
        await client.hget("text", "field")
    assert [(each["event"], each["error"][:9]) for each in logs] == [("redis command refused", "WRONGTYPE")]
    await client.delete("text")
    await client.aclose()


async def test_pool_without_a_free_connection_is_named(valkey: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicekit_redis, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(servicekit_redis, "CONNECTION_WAIT_S", 0.05)
    client = connect_redis(valkey.redis_url)
    async with client.pubsub() as subscription:
        await subscription.subscribe("channel")
        with pytest.raises(StoreUnavailable, match="all connections to Redis are in use"), redis_errors():
            await client.ping()
    await client.aclose()


@pytest.mark.parametrize("url", ["127.0.0.1:6379", "redis://127.0.0.1:port/0"])
def test_invalid_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="The Redis URL is invalid; it must be like redis://"):
        connect_redis(url)
