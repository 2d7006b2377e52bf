"""The etcd client: leases, keys attached to leases, and watches of a prefix.

Only this module and `prefix_watch` use etcd3aio. Every request but a watch is bounded by the client's timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import grpc
import structlog
from etcd3aio import Etcd3Client, EtcdError, prefix_range_end
from etcd3aio.connections import ConnectionManager
from etcd3aio.kv import KVService
from prometheus_client import Gauge

from servicekit.config import ConfigurationError, split_address
from servicekit.prefix_watch import RETRY_INTERVAL_S, EtcdUnreachable, PrefixWatch, Snapshot

__all__ = ["Etcd", "EtcdUnreachable", "LeaseLost", "PrefixWatch", "Snapshot", "Tls"]

T = TypeVar("T")

TIMEOUT_S = 1.0

_log = structlog.get_logger("etcd")
_REACHABLE = Gauge("parley_etcd_reachable", "1 if etcd answered the last request, else 0.")


class LeaseLost(Exception):
    """The lease has expired or was revoked; etcd has deleted the keys attached to it."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS settings of an etcd connection, as PEM texts.

    `ca` verifies etcd; `certificate` and `key` authenticate this client. `server_name` is the name in etcd's
    certificate.
    """

    ca: bytes
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str | None = None


class Etcd:
    """A client of one etcd cluster; it connects when entered. `timeout` bounds every response, in seconds.

    `endpoints` are either several IPv4 addresses with ports, or one host name with a port that may resolve to several
    addresses. Raises ConfigurationError for anything else.
    """

    def __init__(self, endpoints: Sequence[str], *, tls: Tls | None = None, timeout: float = TIMEOUT_S) -> None:
        self._client: Any = _Client(endpoints, tls)
        self._timeout = timeout
        self._reachable: bool | None = None

    async def __aenter__(self) -> Self:
        await self._client.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def grant(self, ttl: int) -> int:
        """Grant a lease of `ttl` seconds and return its id. Raise EtcdUnreachable."""
        return int((await self._await_response(self._client.lease.grant(ttl))).ID)

    async def keep_alive(self, lease: int) -> None:
        """Renew a lease once. Raise LeaseLost if it has expired, EtcdUnreachable if etcd does not answer."""
        stream = self._client.lease.keep_alive(lease)
        try:
            response = await self._await_response(stream.read())
        finally:
            stream.cancel()
        if response is grpc.aio.EOF:
            raise EtcdUnreachable("etcd closed the keep-alive stream without a response")
        if response.TTL <= 0:
            raise LeaseLost

    async def revoke(self, lease: int) -> None:
        """Revoke a lease, which deletes its keys; do nothing if it has expired. Raise EtcdUnreachable."""
        try:
            await self._await_response(self._client.lease.revoke(lease))
        except LeaseLost:
            return

    async def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None if there is none. Raise EtcdUnreachable."""
        found = (await self._await_response(self._client.kv.get(key))).kvs
        return bytes(found[0].value) if found else None

    async def put_if_unchanged(self, key: str, old: bytes | None, new: bytes, lease: int) -> bool:
        """Put `new` with `lease` if `key` still has the value `old` (None: no value). Return True if it was put.

        Raises LeaseLost, EtcdUnreachable.
        """
        unchanged = (
            KVService.txn_compare_create_revision(key, 0) if old is None else KVService.txn_compare_value(key, old)
        )
        put = KVService.txn_op_put(key, new, lease=lease)
        return bool((await self._await_response(self._client.kv.txn([unchanged], [put]))).succeeded)

    async def list_prefix(self, prefix: str) -> Snapshot:
        """Return the keys and values under `prefix` now; the keys come without it. Raise EtcdUnreachable."""
        response = await self._await_response(self._client.kv.get(prefix, prefix_range_end(prefix)))
        values = {kv.key.decode().removeprefix(prefix): bytes(kv.value) for kv in response.kvs}
        return Snapshot(response.header.revision, values)

    async def revision(self) -> int:
        """Return the revision of the store. Raise EtcdUnreachable."""
        return int((await self._await_response(self._client.kv.get("/", count_only=True))).header.revision)

    async def wait_reachable(self) -> None:
        """Wait until etcd answers a request."""
        while True:
            try:
                await self.revision()
            except EtcdUnreachable:
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                return

    def watch_prefix(self, prefix: str) -> PrefixWatch:
        """Return a watch that yields a snapshot of `prefix` now and after every change."""
        return PrefixWatch(self, lambda *args, **kwargs: self._client.watch.watch(*args, **kwargs), prefix)

    async def _await_response(self, request: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                response = await request
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LeaseLost from None
            raise self._unreachable(f"{error.code().name}: {error.details()}") from error
        except (EtcdError, TimeoutError) as error:
            raise self._unreachable(str(error) or f"no response within {self._timeout} s") from error
        self._record_reachability(True)
        return response

    def _unreachable(self, error: str) -> EtcdUnreachable:
        self._record_reachability(False, error)
        return EtcdUnreachable(error)

    def _record_reachability(self, reachable: bool, error: str = "") -> None:
        if reachable is self._reachable:
            return
        if not reachable:
            _log.warning("etcd unreachable; last ring stays active", error=error)
        elif self._reachable is False:
            _log.info("etcd reachable again")
        self._reachable = reachable
        _REACHABLE.set(reachable)


class _Connections(ConnectionManager):
    """The library's connection manager, with name resolution and a reconnect backoff of 1 s instead of two minutes."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        target = _target(endpoints)
        super().__init__(endpoints)
        self.target = target
        self.grpc_options += [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]


class _Client(Etcd3Client):
    def __init__(self, endpoints: Sequence[str], tls: Tls | None) -> None:
        super().__init__(
            watch_max_reconnect_backoff_seconds=1.0,
            tls_server_name=tls.server_name if tls else None,
            ca_cert=tls.ca if tls else None,
            cert_key=tls.key if tls else None,
            cert_chain=tls.certificate if tls else None,
        )
        self._manager = _Connections(endpoints)


def _target(endpoints: Sequence[str]) -> str:
    if len(endpoints) == 1:
        return f"dns:///{endpoints[0]}"
    hosts = [split_address(endpoint)[0] for endpoint in endpoints]
    if not endpoints or any(not host.replace(".", "").isdigit() for host in hosts):
        raise ConfigurationError(
            "PARLEY_ETCD_ENDPOINTS is wrong: give several IPv4 addresses, or one name that resolves to all of them."
        )
    return f"ipv4:{','.join(endpoints)}"
