"""The calls of ChatService that are a device's stream, or say something to it."""

from __future__ import annotations

from chat_service.servicers.roles import Dependencies
from parley.chat.v1 import chat_pb2
from servicekit.rpc import ByteStream, Call


class StreamCalls:
    """The stream itself, and frames of it as calls."""

    def __init__(self, roles: Dependencies) -> None:
        self._edge = roles.edge
        self._homes = roles.homes
        self._streams = roles.streams

    async def Connect(self, stream: ByteStream, call: Call) -> None:
        """The stream of a device."""
        await self._edge.connect(stream, call)

    async def Subscribe(self, request: chat_pb2.SubscribeRequest, stream: ByteStream, call: Call) -> None:
        """The stream of a browser: the frames down are the same, and there are none up."""
        await self._edge.subscribe(request.hello, stream, call)

    async def Locate(self, _: chat_pb2.LocateRequest, call: Call) -> chat_pb2.LocateResponse:
        """The name of the caller's home."""
        return chat_pb2.LocateResponse(home=self._homes.address_of(call.caller.user_id))

    async def Heartbeat(self, request: chat_pb2.HeartbeatRequest, call: Call) -> bytes:
        """The device is there."""
        return await self._streams.forward_frame(call.caller, _frame(chat_pb2.ConnectRequest(heartbeat=request)))

    async def WatchPresence(self, request: chat_pb2.WatchPresenceRequest, call: Call) -> bytes:
        """Whose presence the device's stream is told from now on."""
        return await self._streams.forward_frame(call.caller, _frame(chat_pb2.ConnectRequest(watch_presence=request)))

    async def Reauthenticate(self, request: chat_pb2.ReauthenticateRequest, call: Call) -> bytes:
        """A newer token for the device's stream; the caller was admitted just now."""
        return await self._streams.forward_frame(call.caller, _frame(chat_pb2.ConnectRequest(reauthenticate=request)))


def _frame(said: chat_pb2.ConnectRequest) -> bytes:
    return said.SerializeToString()
