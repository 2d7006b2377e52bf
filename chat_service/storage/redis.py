"""The connection pool of Redis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

RESPONSE_TIMEOUT_S: Final = 1.0
# If this process is busy, it may read a reply that came in time only after the time limit.
RETRIES: Final = 1
MAX_CONNECTIONS: Final = 32
CONNECTION_WAIT_S: Final = 10.0


class _UvloopSafe(AbstractConnection):
    """Translates the RuntimeError that uvloop raises for a closed connection; redis-py does not handle it."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            await self.disconnect(nowait=True)
            raise ConnectionLost(str(error)) from error


class UvloopSafeConnection(_UvloopSafe, Connection):
    """A plain TCP connection that is safe under uvloop."""


class UvloopSafeTlsConnection(_UvloopSafe, SSLConnection):
    """A TLS connection that is safe under uvloop."""


def connect_redis(url: str) -> Redis:
    """Return a client that waits RESPONSE_TIMEOUT_S for a reply and retries once; `url` is a standard Redis URL.

    It opens at most MAX_CONNECTIONS; further calls wait up to CONNECTION_WAIT_S for a free one.
    """
    pool: Any = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=CONNECTION_WAIT_S,
        socket_timeout=RESPONSE_TIMEOUT_S,
        socket_connect_timeout=RESPONSE_TIMEOUT_S,
        retry=Retry(NoBackoff(), RETRIES),
    )
    uvloop_safe: dict[type, type] = {Connection: UvloopSafeConnection, SSLConnection: UvloopSafeTlsConnection}
    pool.connection_class = uvloop_safe.get(pool.connection_class, pool.connection_class)
    return Redis.from_pool(pool)
