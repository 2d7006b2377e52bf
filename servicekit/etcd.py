"""The etcd client: leases, keys attached to leases, and watches of a prefix.

Only this module, `etcd_client` and `prefix_watch` use etcd3aio. Every request but a watch is bounded by the client's
timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self, TypeVar

import grpc
import structlog
from etcd3aio import EtcdError, prefix_range_end
from etcd3aio.kv import KVService
from prometheus_client import Gauge

from servicekit.config import ConfigurationError
from servicekit.etcd_client import EtcdClient, Tls, User, describe_refusal, tls_of
from servicekit.prefix_watch import RETRY_INTERVAL_S, EtcdRefused, EtcdUnreachable, PrefixWatch, Snapshot
from servicekit.settings import EtcdSettings

__all__ = ["Etcd", "EtcdRefused", "EtcdUnreachable", "LeaseLost", "PrefixWatch", "Snapshot", "Tls", "User"]

T = TypeVar("T")

TIMEOUT_S = 1.0
ROOT: Final = "/parley/"
"""The prefix of all keys of a deployment."""

_log = structlog.get_logger("etcd")
_REACHABLE = Gauge("parley_etcd_reachable", "1 if etcd answered the last request, else 0.")


class LeaseLost(Exception):
    """The lease has expired or was revoked; etcd has deleted the keys attached to it."""


class Etcd:
    """A client of one etcd cluster; it connects when entered. `timeout` bounds every response, in seconds.

    `endpoints` are either several IPv4 addresses with ports, or one host name with a port that may resolve to several
    addresses; with TLS only that. Raises ConfigurationError for anything else.
    """

    def __init__(
        self, endpoints: Sequence[str], *, tls: Tls | None = None, user: User | None = None, timeout: float = TIMEOUT_S
    ) -> None:
        self._client: Any = EtcdClient(endpoints, tls, user)
        self._timeout = timeout
        self._reachable: bool | None = None

    @classmethod
    def from_settings(cls, settings: EtcdSettings) -> Self:
        """Return the client of these settings. Raise ConfigurationError."""
        user = None
        if settings.etcd_user is not None and settings.etcd_password is not None:
            user = User(settings.etcd_user, settings.etcd_password.get_secret_value())
        return cls(settings.etcd_endpoints, tls=tls_of(settings), user=user)

    async def __aenter__(self) -> Self:
        await self._client.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def grant(self, ttl: int) -> int:
        """Grant a lease of `ttl` seconds and return its id. Raise EtcdUnreachable."""
        return int((await self._await_response(lambda: self._client.lease.grant(ttl))).ID)

    async def keep_alive(self, lease: int) -> None:
        """Renew a lease once. Raise LeaseLost if it has expired, EtcdUnreachable if etcd does not answer."""
        stream = self._client.lease.keep_alive(lease)
        try:
            response = await self._await_response(stream.read)
        finally:
            stream.cancel()
        if response is grpc.aio.EOF:
            raise EtcdUnreachable("etcd closed the keep-alive stream without a response")
        if response.TTL <= 0:
            raise LeaseLost

    async def revoke(self, lease: int) -> None:
        """Revoke a lease, which deletes its keys; do nothing if it has expired. Raise EtcdUnreachable."""
        try:
            await self._await_response(lambda: self._client.lease.revoke(lease))
        except LeaseLost:
            return

    async def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None if there is none. Raise EtcdUnreachable."""
        found = (await self._await_response(lambda: self._client.kv.get(key))).kvs
        return bytes(found[0].value) if found else None

    async def put_if_unchanged(self, key: str, old: bytes | None, new: bytes, lease: int) -> bool:
        """Put `new` with `lease` if `key` still has the value `old` (None: no value). Return True if it was put.

        Raises LeaseLost, EtcdUnreachable.
        """
        unchanged = (
            KVService.txn_compare_create_revision(key, 0) if old is None else KVService.txn_compare_value(key, old)
        )
        put = KVService.txn_op_put(key, new, lease=lease)
        return bool((await self._await_response(lambda: self._client.kv.txn([unchanged], [put]))).succeeded)

    async def list_prefix(self, prefix: str) -> Snapshot:
        """Return the keys and values under `prefix` now; the keys come without it. Raise EtcdUnreachable."""
        response = await self._await_response(lambda: self._client.kv.get(prefix, prefix_range_end(prefix)))
        values = {kv.key.decode().removeprefix(prefix): bytes(kv.value) for kv in response.kvs}
        return Snapshot(response.header.revision, values)

    async def revision(self) -> int:
        """Return the revision of the store. Raise EtcdUnreachable."""
        return int((await self._await_response(lambda: self._client.kv.get(ROOT, count_only=True))).header.revision)

    async def wait_reachable(self) -> None:
        """Wait until etcd answers a request. Raise ConfigurationError if it refuses the settings of this client."""
        while True:
            try:
                await self.revision()
            except EtcdRefused as refusal:
                raise ConfigurationError(f"The server cannot use etcd: {refusal}.") from None
            except EtcdUnreachable:
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                return

    def watch_prefix(self, prefix: str) -> PrefixWatch:
        """Return a watch that yields a snapshot of `prefix` now and after every change."""
        return PrefixWatch(self, lambda *args, **kwargs: self._client.watch.watch(*args, **kwargs), prefix)

    async def _await_response(self, request: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                response: T = await self._client.call(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LeaseLost from None
            raise self._unreachable(f"{error.code().name}: {error.details()}") from error
        except (EtcdError, TimeoutError) as error:
            raise self._unreachable(str(error) or f"no response within {self._timeout} s") from error
        self._record_reachability(True)
        return response

    def _unreachable(self, error: str) -> EtcdUnreachable:
        refusal = describe_refusal(error)
        self._record_reachability(False, refusal or error)
        return EtcdUnreachable(error) if refusal is None else EtcdRefused(refusal)

    def _record_reachability(self, reachable: bool, error: str = "") -> None:
        if reachable is self._reachable:
            return
        if not reachable:
            _log.warning("etcd unreachable; last ring stays active", error=error)
        elif self._reachable is False:
            _log.info("etcd reachable again")
        self._reachable = reachable
        _REACHABLE.set(reachable)
