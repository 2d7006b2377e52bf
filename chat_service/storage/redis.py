"""The connection to Redis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

RESPONSE_TIMEOUT_S: Final = 1.0
# A server that is busy may find an answer too late that came in time.
RETRIES: Final = 1
MAX_CONNECTIONS: Final = 32
CONNECTION_WAIT_S: Final = 10.0


class _UvloopSafe(AbstractConnection):
    """uvloop tells of a connection that broke by RuntimeError, of which the library knows nothing."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            await self.disconnect(nowait=True)
            raise ConnectionLost(str(error)) from error


class UvloopSafeConnection(_UvloopSafe, Connection):
    """In the clear."""


class UvloopSafeTlsConnection(_UvloopSafe, SSLConnection):
    """Encrypted."""


def connect_redis(url: str) -> Redis:
    """A client that waits TIMEOUT_S for an answer, twice; `url` is as Redis's own clients take it.

    Who wants one connection more than there may be waits for another one to be done.
    """
    pool: Any = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=CONNECTION_WAIT_S,
        socket_timeout=RESPONSE_TIMEOUT_S,
        socket_connect_timeout=RESPONSE_TIMEOUT_S,
        retry=Retry(NoBackoff(), RETRIES),
    )
    steady: dict[type, type] = {Connection: UvloopSafeConnection, SSLConnection: UvloopSafeTlsConnection}
    pool.connection_class = steady.get(pool.connection_class, pool.connection_class)
    return Redis.from_pool(pool)
