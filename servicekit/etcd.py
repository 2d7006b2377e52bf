"""etcd as we mean it: leases, values that live as long as their lease, and a prefix that is followed.

All of etcd3aio is behind this file and `following`. Nothing here waits longer than its timeout for an answer.
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
from servicekit.prefix_watch import EtcdUnreachable, PrefixWatch, Snapshot

__all__ = ["Etcd", "EtcdUnreachable", "LeaseLost", "PrefixWatch", "Snapshot", "Tls"]

T = TypeVar("T")

TIMEOUT_S = 1.0

_log = structlog.get_logger("etcd")
_REACHABLE = Gauge("parley_etcd_reachable", "Whether etcd answered the last question: 1 or 0.")


class LeaseLost(Exception):
    """The lease has expired or was revoked, and what stood under it is gone."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How etcd is known, and how it knows us: PEM texts. `server_name` is the name in its certificate."""

    ca: bytes
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str | None = None


class Etcd:
    """A connection to one etcd cluster, made when entered; `timeout` bounds every answer, in seconds.

    `endpoints` are several IPv4 addresses with ports, or one name with a port, which may resolve to several.
    Raises ConfigurationError for anything else.
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
        """A new lease of `ttl` seconds; its id. Raises EtcdUnreachable."""
        return int((await self._await_response(self._client.lease.grant(ttl))).ID)

    async def keep_alive(self, lease: int) -> None:
        """Renew a lease once. Raises LeaseLost when there is none, EtcdUnreachable when nobody says so."""
        stream = self._client.lease.keep_alive(lease)
        try:
            response = await self._await_response(stream.read())
        finally:
            stream.cancel()
        if response is grpc.aio.EOF:
            raise EtcdUnreachable("etcd ended the renewal without an answer")
        if response.TTL <= 0:
            raise LeaseLost

    async def revoke(self, lease: int) -> None:
        """End a lease and what stands under it; one that has ended already is fine. Raises EtcdUnreachable."""
        try:
            await self._await_response(self._client.lease.revoke(lease))
        except LeaseLost:
            return

    async def get(self, key: str) -> bytes | None:
        """The value of `key`. Raises EtcdUnreachable."""
        found = (await self._await_response(self._client.kv.get(key))).kvs
        return bytes(found[0].value) if found else None

    async def put_if_unchanged(self, key: str, old: bytes | None, new: bytes, lease: int) -> bool:
        """Put `new` under `lease` if `key` still has the value `old` (None: no value); whether it did.

        Raises LeaseLost, EtcdUnreachable.
        """
        unchanged = (
            KVService.txn_compare_create_revision(key, 0) if old is None else KVService.txn_compare_value(key, old)
        )
        put = KVService.txn_op_put(key, new, lease=lease)
        return bool((await self._await_response(self._client.kv.txn([unchanged], [put]))).succeeded)

    async def list_prefix(self, prefix: str) -> Snapshot:
        """What stands under `prefix` now, its keys without it. Raises EtcdUnreachable."""
        answer = await self._await_response(self._client.kv.get(prefix, prefix_range_end(prefix)))
        values = {kv.key.decode().removeprefix(prefix): bytes(kv.value) for kv in answer.kvs}
        return Snapshot(answer.header.revision, values)

    async def revision(self) -> int:
        """The revision of the whole store. Raises EtcdUnreachable."""
        return int((await self._await_response(self._client.kv.get("/", count_only=True))).header.revision)

    def watch_prefix(self, prefix: str) -> PrefixWatch:
        """What stands under `prefix`, now and after every change, for as long as it is iterated."""
        return PrefixWatch(self, lambda *what, **how: self._client.watch.watch(*what, **how), prefix)

    async def _await_response(self, request: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                answer = await request
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LeaseLost from None
            raise self._unreachable(f"{error.code().name}: {error.details()}") from error
        except (EtcdError, TimeoutError) as error:
            raise self._unreachable(str(error) or f"no answer within {self._timeout} s") from error
        self._record_reachability(True)
        return answer

    def _unreachable(self, why: str) -> EtcdUnreachable:
        self._record_reachability(False, why)
        return EtcdUnreachable(why)

    def _record_reachability(self, reachable: bool, why: str = "") -> None:
        if reachable is self._reachable:
            return
        if not reachable:
            _log.warning("etcd does not answer; the last ring stays in force", why=why)
        elif self._reachable is False:
            _log.info("etcd answers again")
        self._reachable = reachable
        _REACHABLE.set(reachable)


class _Connections(ConnectionManager):
    """The library's, which can resolve no names and would wait two minutes to connect again."""

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
