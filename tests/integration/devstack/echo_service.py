"""`python -m tests.integration.devstack.echo_service`: a small service with a method of each kind of streaming.

Its proto file is built here, because it is no part of the contract. Every method returns the name of the replica.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from devstack.services import ServiceType
from servicekit.auth import TokenVerifier
from servicekit.rpc import ByteStream, Call, service_handler
from servicekit.server import Server, run, wait_for_signal

MESSAGE = "tests.echo.v1.EchoMessage"
NO_TOKEN = "GetName"


def _method(name: str, *, client: bool = False, server: bool = False) -> MethodDescriptorProto:
    return MethodDescriptorProto(
        name=name,
        input_type=f".{MESSAGE}",
        output_type=f".{MESSAGE}",
        client_streaming=client,
        server_streaming=server,
    )


_TEXT = FieldDescriptorProto.Type.TYPE_STRING
_OPTIONAL = FieldDescriptorProto.Label.LABEL_OPTIONAL
_FILE = FileDescriptorProto(
    name="tests/echo/v1/echo.proto",
    package="tests.echo.v1",
    syntax="proto3",
    message_type=[
        DescriptorProto(
            name="EchoMessage",
            field=[FieldDescriptorProto(name="replica", number=1, type=_TEXT, label=_OPTIONAL)],
        )
    ],
    service=[
        ServiceDescriptorProto(
            name="EchoService",
            method=[
                _method("Echo"),
                _method(NO_TOKEN),
                _method("Repeat", server=True),
                _method("Collect", client=True),
                _method("Converse", client=True, server=True),
            ],
        )
    ],
)
_POOL = descriptor_pool.Default()
_POOL.AddSerializedFile(_FILE.SerializeToString())
DESCRIPTOR = _POOL.FindServiceByName("tests.echo.v1.EchoService")
EchoMessage: type[Any] = GetMessageClass(DESCRIPTOR.methods_by_name["Echo"].input_type)

ECHO = ServiceType(
    name="echo",
    module="tests.integration.devstack.echo_service",
    description="an echo server",
    contract=(DESCRIPTOR,),
    replicas=2,
    max_replicas=3,
    open_methods=(f"/{DESCRIPTOR.full_name}/{NO_TOKEN}",),
)


class EchoServicer:
    """A servicer that answers with its own name."""

    def __init__(self, name: str) -> None:
        self._answer = EchoMessage(replica=name)

    async def Echo(self, request: Message, call: Call) -> Message:
        return self._own_answer()

    async def GetName(self, request: Message, call: Call) -> Message:
        return self._own_answer()

    async def Repeat(self, request: Message, call: Call) -> AsyncIterator[Message]:
        for _ in range(3):
            yield self._own_answer()

    async def Collect(self, stream: ByteStream, call: Call) -> Message:
        """Read all frames. The name is followed by the number of their bytes."""
        size = 0
        while (frame := await stream.read()) is not None:
            size += len(frame)
        answer: Message = EchoMessage(replica=f"{self._answer.replica} {size}")
        return answer

    async def Converse(self, stream: ByteStream, call: Call) -> None:
        while await stream.read() is not None:
            await stream.write(self._own_answer().SerializeToString())

    def _own_answer(self) -> Message:
        answer: Message = self._answer
        return answer


async def main() -> None:
    """Serve until SIGTERM."""
    setting = os.environ.__getitem__
    address = setting("PARLEY_LISTEN")
    verifier = TokenVerifier.from_file(
        Path(setting("PARLEY_JWKS_FILE")),
        issuer=setting("PARLEY_TOKEN_ISSUER"),
        audience=setting("PARLEY_TOKEN_AUDIENCE"),
    )
    handler = service_handler(
        DESCRIPTOR, EchoServicer(address), authenticate=verifier.authenticate, open_methods={NO_TOKEN}
    )
    file = Path(setting("PARLEY_REFLECTION_FILE"))
    server = Server(address, [handler], [DESCRIPTOR.full_name], reflection_file=file)
    await server.start()
    server.set_serving(True)
    await wait_for_signal()
    await server.stop(grace=1.0)


if __name__ == "__main__":
    run(main())
