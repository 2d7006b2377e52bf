"""The servers of a deployment, and calls to their internal ports with the credential of the services."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import grpc

from parley.internal.v1 import admin_pb2
from parley.internal.v1.admin_pb2_grpc import AdminServiceStub
from parley.internal.v1.directory_pb2 import FindUserRequest
from parley.internal.v1.directory_pb2_grpc import DirectoryServiceStub
from parley_client.cli.command import err
from parley_client.cli.errors import CommandError
from parley_command.admin.options import Deployment, is_id
from servicekit import telemetry
from servicekit.audit import OPERATOR_HEADER
from servicekit.auth import ServiceCredential
from servicekit.client import OPTIONS, failure_of
from servicekit.clock import SystemClock
from servicekit.config import ConfigurationError
from servicekit.errors import NotYetServed, ServerDraining, ServiceUnavailable
from servicekit.etcd import Etcd, EtcdRefused, EtcdUnreachable
from servicekit.failure import Failure
from servicekit.server_list import list_servers
from servicekit.settings import EtcdSettings, TlsSettings
from servicekit.transport import OPERATOR, Transport, create_transport

# How long a command looks for the servers, and how long it waits for the answer to a call.
LOOKUP_TIMEOUT_S: Final = 5.0
CALL_TIMEOUT_S: Final = 10.0
# A command says within this time what it waits for.
NOTICE_DELAY_S: Final = 1.0
_RETRY_INTERVAL_S: Final = 0.5

Server = admin_pb2.RegisteredServer
Result = TypeVar("Result")


class Fleet:
    """The registered servers of a deployment. Calls raise Failure, ServiceUnavailable if a server does not answer."""

    def __init__(self, servers: Sequence[Server], credential: ServiceCredential, transport: Transport) -> None:
        self.servers = servers
        self._transport = transport
        self._metadata = (*credential.metadata(), (OPERATOR_HEADER, _operator_name()))
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def call(
        self, server: Server, stub: Callable[[Any], Any], method: str, request: Any, timeout_s: float = CALL_TIMEOUT_S
    ) -> Any:
        """Return the response of a server; `stub` is the class of a generated stub."""
        address = server.internal_address
        if address not in self._channels:
            self._channels[address] = self._transport.open_channel(server.service, address, OPTIONS)
        try:
            unary = getattr(stub(self._channels[address]), method)
            return await unary(request, metadata=self._metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failure_of(error, server.service) from error

    async def call_any(self, service: str, stub: Callable[[Any], Any], method: str, request: Any) -> Any:
        """Return the response of the first server of a service that answers. Raise CommandError if there is none."""
        for server in self.list_of(service):
            with suppress(ServiceUnavailable, ServerDraining):
                return await self.call(server, stub, method, request)
        raise CommandError(f"No {service} server answers.")

    async def describe(self, server: Server, timeout_s: float = CALL_TIMEOUT_S) -> admin_pb2.DescribeServerResponse:
        """Return the description of a server."""
        request = admin_pb2.DescribeServerRequest()
        response: admin_pb2.DescribeServerResponse = await self.call(
            server, AdminServiceStub, "DescribeServer", request, timeout_s
        )
        return response

    async def call_all(
        self, servers: Sequence[Server], call: Callable[[Server], Any]
    ) -> list[tuple[Server, Any | Failure]]:
        """Return the response of each server, or the failure of its call."""

        async def call_one(server: Server) -> tuple[Server, Any | Failure]:
            try:
                return server, await call(server)
            except Failure as failure:
                return server, failure

        return await asyncio.gather(*map(call_one, servers))

    def list_of(self, service: str) -> list[Server]:
        """Return the servers of a service. Raise CommandError if there is none."""
        found = [server for server in self.servers if server.service == service]
        if not found:
            raise CommandError(f"No {service} server is registered.")
        return found

    def find(self, name: str) -> Server:
        """Return the server with this id, or SERVICE/ID. Raise CommandError unless there is exactly one."""
        service, _, server_id = name.rpartition("/")
        found = [each for each in self.servers if each.server_id == server_id and service in ("", each.service)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{each.service}/{each.server_id}" for each in found)
            raise CommandError(f"Several servers have the id {server_id}: name one of {names}.")
        raise CommandError(f"There is no server {name}. `parley admin servers` lists them.")

    async def find_user(self, user: str) -> str:
        """Return the id of a user, found by the login name unless it is an id. Raise CommandError if there is none."""
        if is_id(user):
            return user
        response = await self.call_any("chat", DirectoryServiceStub, "FindUser", FindUserRequest(login_name=user))
        if not response.user_id:
            raise CommandError(f"There is no user {user}.")
        return str(response.user_id)

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            await channel.close()


@asynccontextmanager
async def open_fleet(deployment: Deployment) -> AsyncIterator[Fleet]:
    """Yield the servers of a deployment. Raise CommandError if they cannot be found within LOOKUP_TIMEOUT_S.

    A Failure within the block becomes a CommandError as well.
    """
    # Standard output has the answer alone, and errors are told in sentences.
    telemetry.configure_logging("console", "critical")
    try:
        credential = ServiceCredential.from_file(deployment.credential)
    except ConfigurationError as error:
        raise CommandError(
            f"{error} --credential or PARLEY_SERVICE_CREDENTIAL_FILE names the file with the services' credential."
        ) from None
    try:
        transport = create_transport(TlsSettings.load(), OPERATOR, SystemClock())
    except ConfigurationError as error:
        raise CommandError(str(error)) from None
    fleet = Fleet((), credential, transport)
    try:
        fleet.servers = await _find_servers(deployment, fleet)
        yield fleet
    except Failure as failure:
        raise CommandError(_explain(failure, deployment)) from failure
    finally:
        await fleet.close()


def is_timeout(failure: Failure) -> bool:
    """Return True if a call failed because its server did not answer in time."""
    error = failure.__cause__
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def _find_servers(deployment: Deployment, fleet: Fleet) -> Sequence[Server]:
    source = f"the server at {deployment.address}" if deployment.address else _etcd_at(deployment.etcd)
    notice = asyncio.create_task(_notice(f"Looking for the servers at {source} …"))
    try:
        if deployment.address:
            return await _list_at_server(deployment.address, fleet)
        return await _list_in_etcd(deployment.etcd)
    finally:
        notice.cancel()


def _etcd_at(endpoints: Sequence[str]) -> str:
    return f"etcd at {', '.join(endpoints)}"


async def _list_at_server(address: str, fleet: Fleet) -> Sequence[Server]:
    """Return the servers that one of them lists. Raise CommandError if it does not answer."""
    # With TLS its certificate must name the service.
    server = Server(service="chat", internal_address=address)
    request = admin_pb2.ListServersRequest()
    try:
        found = await fleet.call(server, AdminServiceStub, "ListServers", request, LOOKUP_TIMEOUT_S)
    except ServiceUnavailable:
        raise CommandError(
            f"No chat server answers at {address}. --address or PARLEY_ADMIN_ADDRESS is the internal address of one. "
            "With TLS, PARLEY_TLS_CERTIFICATE_FILE, PARLEY_TLS_KEY_FILE and PARLEY_TLS_CA_FILE are needed."
        ) from None
    if not found.complete:
        err.print("etcd cannot be reached: servers of other services are not listed.", style="yellow", soft_wrap=True)
    return list(found.servers)


async def _list_in_etcd(endpoints: Sequence[str]) -> Sequence[Server]:
    """Wait until a server is registered in etcd. Raise CommandError after LOOKUP_TIMEOUT_S."""
    source = _etcd_at(endpoints)
    problem = f"{source} does not answer"
    try:
        settings = EtcdSettings.load(etcd_endpoints=endpoints)
        async with Etcd.from_settings(settings) as etcd, asyncio.timeout(LOOKUP_TIMEOUT_S):
            while True:
                try:
                    if servers := await list_servers(etcd):
                        return servers
                    problem = f"No server is registered in {source}"
                except EtcdRefused as refusal:
                    raise CommandError(f"{source} cannot be used: {refusal}.") from None
                except EtcdUnreachable:
                    problem = f"{source} does not answer"
                await asyncio.sleep(_RETRY_INTERVAL_S)
    except ConfigurationError as error:
        raise CommandError(str(error)) from None
    except TimeoutError:
        raise CommandError(
            f"{problem}. --etcd or PARLEY_ETCD_ENDPOINTS names its address, which `make run` prints."
        ) from None


def _explain(failure: Failure, deployment: Deployment) -> str:
    if failure.code == "UNAUTHENTICATED":
        return f"The servers do not accept the credential in {deployment.credential}."
    if isinstance(failure, NotYetServed):
        return "The server runs a version without this command."
    return f"{failure.message[:1].upper()}{failure.message[1:]}."


def _operator_name() -> str:
    """Return the name for the audit log, which nobody verifies: user and machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number without a name.
        user = "unknown"
    name = f"{user}@{socket.gethostname()}"
    return name if name.isascii() and name.isprintable() else "unknown"


async def _notice(text: str) -> None:
    await asyncio.sleep(NOTICE_DELAY_S)
    err.print(text, soft_wrap=True)
