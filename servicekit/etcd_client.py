"""The connection to etcd: its address, TLS, the sign-in of its user, and the refusals that an operator must mend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from etcd3aio import Etcd3Client, EtcdError
from etcd3aio.connections import ConnectionManager

from servicekit.config import ConfigurationError, read_file, split_address
from servicekit.settings import EtcdSettings

T = TypeVar("T")

SIGN_IN_TIMEOUT_S: Final = 10.0

# What an error of etcd or of its connection says, and what it means for the operator. The first match counts.
_REFUSALS: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "no authority in PARLEY_ETCD_CA_FILE has signed the certificate of etcd"),
    ("Hostname Verification", "the certificate of etcd is not for the name in PARLEY_ETCD_ENDPOINTS"),
    (
        "_ALERT_",
        "etcd requires a certificate in PARLEY_ETCD_CERTIFICATE_FILE and PARLEY_ETCD_KEY_FILE, or refuses it",
    ),
    ("WRONG_VERSION_NUMBER", "etcd does not use TLS, and PARLEY_ETCD_CA_FILE is set"),
    ("invalid user ID or password", "etcd knows no such PARLEY_ETCD_USER with this PARLEY_ETCD_PASSWORD"),
    ("authentication is not enabled", "etcd has no users, and PARLEY_ETCD_USER is set"),
    ("permission denied", "PARLEY_ETCD_USER may not read and write the keys under /parley/"),
    ("user name is empty", "etcd requires PARLEY_ETCD_USER and PARLEY_ETCD_PASSWORD"),
)
# etcd has forgotten the token, or its users have changed since: another one is needed.
_TOKEN_ERRORS: Final = ("invalid auth token", "revision of auth store is old")


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts: `ca` verifies etcd; `certificate` and `key`, if any, authenticate this client."""

    ca: bytes
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class User:
    """A user of etcd."""

    name: str
    password: str = field(repr=False)


class EtcdClient(Etcd3Client):
    """The library's client with name resolution, a short backoff, and a user that is signed in when needed."""

    def __init__(self, endpoints: Sequence[str], tls: Tls | None, user: User | None) -> None:
        super().__init__(
            watch_max_reconnect_backoff_seconds=1.0,
            ca_cert=tls.ca if tls else None,
            cert_key=tls.key if tls else None,
            cert_chain=tls.certificate if tls else None,
        )
        self._manager = _Connections(endpoints, verifies_name=tls is not None)
        self._user = user
        self._signing_in: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connection, and end a sign-in."""
        if self._signing_in is not None:
            self._signing_in.cancel()
        await super().close()

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the response to a request; sign the user in first, and once more if etcd asks for it.

        Raise EtcdError and AioRpcError.
        """
        if self._user is None:
            return await request()
        signed_in = self._sign_in(self._user)
        await asyncio.shield(signed_in)
        try:
            return await request()
        except (EtcdError, grpc.aio.AioRpcError) as error:
            if not any(text in str(error) for text in _TOKEN_ERRORS):
                raise
        if self._signing_in is signed_in:
            self._signing_in = None
        await asyncio.shield(self._sign_in(self._user))
        return await request()

    def _sign_in(self, user: User) -> asyncio.Task[None]:
        """Return the sign-in that all requests share; begin one if there is none, or the last one has failed.

        A request that stops waiting for it does not end it. etcd hashes the password for a tenth of a second of a core,
        and goes on when the caller has left: a sign-in for each request, and another one for each that was given up,
        would keep a busy etcd from ever finishing one in time.
        """
        task = self._signing_in
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._signing_in = asyncio.create_task(self._fetch_token(user), name="sign in to etcd")
        return task

    async def _fetch_token(self, user: User) -> None:
        auth: Any = self.auth
        async with asyncio.timeout(SIGN_IN_TIMEOUT_S):
            self.set_token((await auth.authenticate(user.name, user.password)).token)


class _Connections(ConnectionManager):
    """The library's connection manager, with name resolution and a reconnect backoff of 1 s instead of two minutes."""

    def __init__(self, endpoints: Sequence[str], *, verifies_name: bool) -> None:
        target = _target(endpoints, verifies_name=verifies_name)
        super().__init__(endpoints)
        self.target = target
        self.grpc_options += [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]


def describe_refusal(error: str) -> str | None:
    """Return what the operator must mend, if the text of an error says so."""
    return next((description for text, description in _REFUSALS if text in error), None)


def tls_of(settings: EtcdSettings) -> Tls | None:
    """Return the TLS of these settings; None if they have no authority. Raise ConfigurationError for a bad file."""
    if settings.etcd_ca_file is None:
        return None
    certificate, key = map(_read_pem, (settings.etcd_certificate_file, settings.etcd_key_file))
    return Tls(read_file(settings.etcd_ca_file, _check_pem, "a PEM file"), certificate, key)


def _read_pem(path: Path | None) -> bytes | None:
    return None if path is None else read_file(path, _check_pem, "a PEM file")


def _check_pem(text: bytes) -> bytes:
    if b"-----BEGIN " not in text:
        raise ValueError("it has no line that begins with -----BEGIN")
    return text


def _target(endpoints: Sequence[str], *, verifies_name: bool) -> str:
    if len(endpoints) == 1:
        return f"dns:///{endpoints[0]}"
    hosts = [split_address(endpoint)[0] for endpoint in endpoints]
    if not endpoints or any(not host.replace(".", "").isdigit() for host in hosts):
        raise ConfigurationError(
            "PARLEY_ETCD_ENDPOINTS is wrong: give several IPv4 addresses, or one name that resolves to all of them."
        )
    if verifies_name:
        raise ConfigurationError(
            "PARLEY_ETCD_ENDPOINTS is wrong: with TLS give one name, which resolves to all members and is in the "
            "certificate of each."
        )
    return f"ipv4:{','.join(endpoints)}"
