"""The transport between the processes of a deployment: plain text, or mutual TLS with an identity for each service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from inspect import isasyncgenfunction
from typing import Any, Final, TypeAlias

import grpc
import structlog
from prometheus_client import Counter

from servicekit.certificates import Certificate, CertificateWatcher, Identity
from servicekit.clock import Clock
from servicekit.errors import CallerNotAllowed
from servicekit.settings import TlsSettings
from servicekit.status import to_grpc

GATEWAY: Final = "envoy"
"""The name of the gateway in its certificate. It alone calls public ports."""

OPERATOR: Final = "admin"
"""The name of the commands of operators in their certificate."""

Option = tuple[str, int | str]
AllowedCallers = Mapping[str, Collection[str]]
"""By the full name of a gRPC service: the names of the services that may call it."""
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_KINDS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_refused = Counter("parley_tls_callers_refused", "Calls refused because the certificate does not permit the caller")

log = structlog.get_logger("tls")


class Transport:
    """The transport in plain text: connections that nothing authenticates."""

    def open_channel(self, service: str, address: str, options: Sequence[Option]) -> grpc.aio.Channel:  # noqa: ARG002
        """Return a channel to a server of `service` at `address` (`host:port`), to be closed by the caller."""
        return grpc.aio.insecure_channel(address, options)

    def interceptors(self, allowed_callers: AllowedCallers) -> Sequence[grpc.aio.ServerInterceptor]:  # noqa: ARG002
        """Return the interceptors of a port whose services have these `allowed_callers`."""
        return ()

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Let `server` listen at `address`, and return the port. Raise RuntimeError if it cannot."""
        return server.add_insecure_port(address)

    def subscribe(self, on_renewed: Callable[[], None]) -> None:
        """Call `on_renewed` once new channels use another certificate than open ones."""

    async def run(self) -> None:
        """Follow the certificate until cancelled."""


PLAIN_TEXT: Final = Transport()


class MutualTls(Transport):
    """The transport in which both sides have a certificate. A renewed one serves new connections; open ones go on.

    A client verifies that it has reached the service that it calls, a server that the caller may call it.
    """

    def __init__(self, watcher: CertificateWatcher) -> None:
        self._watcher = watcher

    def open_channel(self, service: str, address: str, options: Sequence[Option]) -> grpc.aio.Channel:
        """Return a channel to a server of `service`, whose certificate must name it."""
        certificate = self._watcher.current
        credentials = grpc.ssl_channel_credentials(certificate.authorities, certificate.key, certificate.chain)
        host = Identity(self._watcher.identity.trust_domain, service).dns_name
        return grpc.aio.secure_channel(address, credentials, (*options, ("grpc.ssl_target_name_override", host)))

    def interceptors(self, allowed_callers: AllowedCallers) -> Sequence[grpc.aio.ServerInterceptor]:
        """Return the interceptor that refuses all but the `allowed_callers`."""
        return (CallerCheck(self._watcher.identity.trust_domain, allowed_callers),)

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Let `server` listen at `address` for clients with a certificate of one of the authorities."""
        served = self._watcher.current

        def fetch_renewed() -> grpc.ServerCertificateConfiguration | None:
            # gRPC asks at each handshake; None: the certificate that it has.
            nonlocal served
            if served is self._watcher.current:
                return None
            served = self._watcher.current
            return _server_configuration(served)

        credentials = grpc.dynamic_ssl_server_credentials(
            _server_configuration(served),
            fetch_renewed,  # type: ignore[arg-type]  # the stubs do not know that it may return None
            require_client_authentication=True,
        )
        return server.add_secure_port(address, credentials)

    def subscribe(self, on_renewed: Callable[[], None]) -> None:
        """Call `on_renewed` after each renewal of the certificate."""
        self._watcher.subscribe(on_renewed)

    async def run(self) -> None:
        """Follow the certificate files until cancelled."""
        await self._watcher.run()


def _server_configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)], certificate.authorities)


def create_transport(settings: TlsSettings, service: str, clock: Clock) -> Transport:
    """Return the transport of a process of `service`. Raise ConfigurationError if its certificate cannot be used."""
    files = settings.certificate_files
    if files is None:
        return Transport()
    return MutualTls(CertificateWatcher(files, Identity(settings.tls_trust_domain, service), clock))


class CallerCheck(grpc.aio.ServerInterceptor):
    """An interceptor that refuses the calls of a service whose certificate does not permit them.

    A service that `allowed_callers` does not name, such as health and reflection, may be called by all that it names.
    """

    def __init__(self, trust_domain: str, allowed_callers: AllowedCallers) -> None:
        self._allowed = {
            service: frozenset(Identity(trust_domain, name).spiffe_id for name in names)
            for service, names in allowed_callers.items()
        }
        self._all = frozenset[str]().union(*self._allowed.values())
        # A handler is the same for each call of its method.
        self._guarded = lru_cache(maxsize=1024)(_guarded)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the handler of a call behind the check of its caller."""
        handler: Handler = await continuation(handler_call_details)
        service = handler_call_details.method.removeprefix("/").partition("/")[0]
        return self._guarded(handler, self._allowed.get(service, self._all))


def _guarded(handler: Handler, allowed: frozenset[str]) -> Handler:
    """Return the handler behind a check that the certificate of the caller has one of the `allowed` URIs."""
    kind = next(each for each in _KINDS if getattr(handler, each) is not None)
    behaviour = getattr(handler, kind)

    async def answer(request: Any, context: Any) -> Any:
        await _check_caller(context, allowed)
        return await behaviour(request, context)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        await _check_caller(context, allowed)
        async for response in behaviour(request, context):
            yield response

    make = getattr(grpc, f"{kind}_rpc_method_handler")
    guarded: Handler = make(
        stream if isasyncgenfunction(behaviour) else answer, handler.request_deserializer, handler.response_serializer
    )
    return guarded


async def _check_caller(context: grpc.aio.ServicerContext[Any, Any], allowed: frozenset[str]) -> None:
    """Abort the call unless the certificate of the caller has one of the `allowed` URIs.

    gRPC names the SPIFFE ID only of a certificate with a single URI.
    """
    identities = list(context.auth_context().get("peer_spiffe_id", ()))
    if any(identity.decode() in allowed for identity in identities):
        return
    caller = identities[0].decode() if identities else "no SPIFFE ID"
    log.warning("caller refused", caller=caller, peer=context.peer())
    _refused.inc()
    await context.abort_with_status(to_grpc(CallerNotAllowed(f"{caller} may not call this")))
