"""Channels to the door and the servers of a system, with the certificates that its TLS needs, if it has TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import grpc

from devstack.certificates import AUTHORITIES, CERTIFICATE, KEY, TRUST_DOMAIN
from devstack.stack import Stack
from servicekit.certificates import Identity
from servicekit.transport import GATEWAY, OPERATOR

Options = Sequence[tuple[str, int | str]]


def open_channel(stack: Stack, address: str, options: Options) -> grpc.aio.Channel:
    """Return a channel to the door, to the public port of a server as Envoy, or to an internal one as an operator."""
    if stack.ca_file is None:
        return grpc.aio.insecure_channel(address, options)
    if address == stack.door:
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(stack.ca_file.read_bytes()), options)
    service, is_public = _server_at(stack, address)
    return secure_channel(address, service, pems_of(stack, GATEWAY if is_public else OPERATOR), options)


def secure_channel(address: str, service: str, pems: Sequence[bytes | None], options: Options) -> grpc.aio.Channel:
    """Return a channel to a server of `service`; `pems` are authorities, key and certificate of the caller."""
    host = ("grpc.ssl_target_name_override", Identity(TRUST_DOMAIN, service).dns_name)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*pems), [*options, host])


def pems_of(stack: Stack, holder: str) -> tuple[bytes, bytes, bytes]:
    """Return the authorities, the key and the certificate of a holder in a stack with TLS."""
    assert stack.layout.certificates is not None
    folder = stack.layout.certificates.folder_of(holder)
    authorities, key, certificate = ((folder / name).read_bytes() for name in (AUTHORITIES, KEY, CERTIFICATE))
    return authorities, key, certificate


def tls_context(stack: Stack) -> ssl.SSLContext | None:
    """Return the context of a client that trusts the stack alone; None without TLS."""
    return ssl.create_default_context(cafile=stack.ca_file) if stack.ca_file is not None else None


def _server_at(stack: Stack, address: str) -> tuple[str, bool]:
    """Return the service of the server at an address, and True if it is the public one."""
    for service in stack.layout.services:
        for replica in stack.replicas(service.name):
            if address in (replica.address, replica.internal_address):
                return service.name, address == replica.address
    raise KeyError(address)
