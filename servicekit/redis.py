"""The connection pool of Redis, Lua scripts, and the mapping of errors to StoreUnavailable."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final

import structlog
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable
from servicekit.redis_cluster import open_cluster

RESPONSE_TIMEOUT_S: Final = 1.0
# A reply that arrived in time may be read too late, because the process was busy: such a command is sent once more.
RETRIES: Final = 1
MAX_CONNECTIONS: Final = 32
CONNECTION_WAIT_S: Final = 10.0
# The errors of a client if Redis cannot be reached, does not answer, or refuses a command.
UNREACHABLE: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
POOL_EXHAUSTED: Final = "No connection available."

_log = structlog.get_logger("store.redis")


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


_UVLOOP_SAFE: Final[dict[type, type[AbstractConnection]]] = {
    Connection: UvloopSafeConnection,
    SSLConnection: UvloopSafeTlsConnection,
}


def connect_redis(url: str, *, cluster: bool = False) -> Redis:
    """Return a client that waits RESPONSE_TIMEOUT_S for a reply and retries once; `url` is a standard Redis URL.

    It opens at most MAX_CONNECTIONS; further calls wait up to CONNECTION_WAIT_S for a free one. A subscription or a
    blocking command occupies a connection while it lasts. For a `cluster` the URL may name several nodes, separated by
    commas. Raise ConfigurationError if the URL is invalid.
    """
    options: dict[str, Any] = {
        "socket_timeout": RESPONSE_TIMEOUT_S,
        "socket_connect_timeout": RESPONSE_TIMEOUT_S,
        "retry": Retry(NoBackoff(), RETRIES),
    }
    try:
        if cluster:
            return open_cluster(url, _UVLOOP_SAFE, **options)
        pool: Any = BlockingConnectionPool.from_url(
            url, max_connections=MAX_CONNECTIONS, timeout=CONNECTION_WAIT_S, **options
        )
    except (ValueError, TypeError, RedisClusterException):
        # The error is not shown: it may quote a part of the password.
        form = "redis://a:6379,b:6379/0, with database 0" if cluster else "redis://host:6379/0"
        raise ConfigurationError(f"The Redis URL is invalid; it must be like {form}.") from None
    pool.connection_class = _UVLOOP_SAFE.get(pool.connection_class, pool.connection_class)
    return Redis.from_pool(pool)


async def check_redis(redis: Redis) -> None:
    """Raise ConfigurationError if Redis refuses this client, or if this client refuses the certificate of Redis.

    Do nothing if Redis does not answer: a service may start, and use it once it does.
    """
    try:
        await redis.ping()
    except UNREACHABLE as error:
        if refusal := _describe_refusal(error):
            raise ConfigurationError(refusal) from None
        _log.warning("redis does not answer; PARLEY_REDIS_URL names its address and certificates", error=str(error))


def _describe_refusal(error: BaseException | None) -> str | None:
    """Return what the operator must mend, as a sentence, if that is one of the causes of an error."""
    while error is not None:
        if isinstance(error, NoPermissionError):
            return f"Redis refuses what the user in PARLEY_REDIS_URL needs; docs/stores.md lists the rights: {error}."
        if isinstance(error, AuthenticationError):
            return "Redis refuses the user or the password in PARLEY_REDIS_URL."
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"The certificate of Redis is refused: {error.verify_message}. PARLEY_REDIS_URL names its authority by "
                "ssl_ca_certs."
            )
        if isinstance(error, FileNotFoundError | PermissionError):
            return f"A file that PARLEY_REDIS_URL names cannot be read: {error.strerror}."
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise StoreUnavailable if Redis fails within the block: a write may or may not have happened.

    The log has the text of a refusal, which may be a fault of the command.
    """
    try:
        yield
    except ResponseError as error:
        _log.warning("redis command refused", error=str(error))
        raise StoreUnavailable("Redis refused a command") from error
    except UNREACHABLE as error:
        # The pool raises it without a type of its own.
        if str(error) == POOL_EXHAUSTED:
            raise StoreUnavailable("all connections to Redis are in use") from error
        raise StoreUnavailable("Redis does not answer") from error


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the SHA-1 by which EVALSHA names it."""

    text: str
    sha: str

    @classmethod
    def from_text(cls, text: str) -> Script:
        """Return the script with its hash."""
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], *arguments: bytes | str | int) -> ScriptCall:
        """Return a call of this script with these keys and arguments."""
        return ScriptCall(self, tuple(keys), arguments)


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A script with its keys and arguments."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[bytes | str | int, ...]


async def run_scripts(redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    """Return the replies to calls of one script, in one round trip. Raise an error of UNREACHABLE."""
    replies = await _run_pipeline(redis, calls)
    # A new primary of a cluster does not have the script, while others have run it.
    unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        await redis.script_load(calls[0].script.text)
        for index, reply in zip(unknown, await _run_pipeline(redis, [calls[each] for each in unknown]), strict=True):
            replies[index] = reply
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


async def _run_pipeline(redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipeline:
        for call in calls:
            # The method `evalsha` of the pipeline of a cluster refuses, because the script may be unknown.
            pipeline.execute_command("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.arguments)
        return await pipeline.execute(raise_on_error=False)
