"""The services of a stage, over real gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio

from parley.chat.v1 import (
    account_pb2,
    account_pb2_grpc,
    chat_pb2,
    chat_pb2_grpc,
    conversation_pb2,
    conversation_pb2_grpc,
)
from tests.unit.client.stage import Frame, Refused, Stage, Stream, status
from tests.unit.client.stage_calls import abort, caller, told
from tests.unit.client.stage_changes import AccountChanges, ChatChanges, ConversationChanges


class Chat(ChatChanges, chat_pb2_grpc.ChatServiceServicer):
    """ChatService on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def Connect(self, request_iterator: Any, context: Any) -> AsyncIterator[Frame]:
        stage, metadata = self.stage, dict(context.invocation_metadata())
        user, device = await caller(stage, context)
        stream = Stream(user, device, metadata.get("x-chat-server", ""))
        stage.connects.append((device, stream.edge))
        reading = asyncio.create_task(self._read(request_iterator, stream))
        try:
            while (frame := await stream.frames.get()) is not None:
                yield frame
        finally:
            reading.cancel()
            if stage.streams.get(device) is stream:
                del stage.streams[device]

    async def _read(self, frames: Any, stream: Stream) -> None:
        async for frame in frames:
            self.stage.received.append(frame)
            self._take(stream, frame)

    def _take(self, stream: Stream, frame: chat_pb2.ConnectRequest) -> None:
        stage, kind = self.stage, frame.WhichOneof("frame")
        if kind == "hello":
            self._hello(stream, frame.hello)
        elif kind == "send_message":
            self._send(stream, frame.send_message)
        elif kind == "fetch":
            for answer in stage.fetch(stream.user, frame.fetch):
                stage.down(stream, entries=answer)
        elif kind == "receipts":
            for each in frame.receipts.receipts:
                log = stage.logs[each.conversation_id]
                stage.mark(log, stream.user, each.delivered_seq, each.read_seq)
        elif kind == "typing":
            notice = chat_pb2.Typing(
                conversation_id=frame.typing.conversation_id, user_id=stream.user, typing=frame.typing.typing
            )
            others = set(stage.logs[notice.conversation_id].members) - {stream.user}
            for other in stage.streams_of(others):
                stage.down(other, typing=notice)
        elif kind == "heartbeat":
            stage.down(stream, heartbeat=chat_pb2.HeartbeatResponse())

    def _hello(self, stream: Stream, hello: chat_pb2.Hello) -> None:
        stage = self.stage
        old = stage.streams.pop(stream.device, None)
        if old:
            stage.end(old, status("ABORTED", "SESSION_SUPERSEDED"))
        stage.streams[stream.device] = stream
        welcome = chat_pb2.Welcome(session_id=uuid4().hex, home=stage.home(stream.user))
        welcome.heartbeat_interval.FromMilliseconds(round(stage.heartbeat * 1000))
        welcome.server_time.FromMilliseconds(round((time.time() + stage.clock_offset) * 1000))
        welcome.limits.sends_per_second, welcome.limits.sends_burst = 20, 60
        stage.down(stream, welcome=welcome)
        cursor = hello.cursor if hello.HasField("cursor") else None
        stage.down(stream, changes=stage.changes(stream.user, cursor))

    def _send(self, stream: Stream, request: chat_pb2.SendMessageRequest) -> None:
        stage = self.stage
        result = chat_pb2.SendResult(
            conversation_id=request.conversation_id, client_message_id=request.client_message_id
        )
        stream.refused.discard(request.client_message_id)
        if stream.refused:
            result.refused.CopyFrom(status("UNAVAILABLE", "EARLIER_SEND_REFUSED", 0.01))
        elif stage.refusals:
            result.refused.CopyFrom(stage.refusals.pop(0))
            if result.refused.code in (8, 14):
                stream.refused.add(request.client_message_id)
        else:
            try:
                result.appended.CopyFrom(stage.send(stream.user, request))
            except Refused as refused:
                result.refused.CopyFrom(refused.told)
        stage.down(stream, send_results=chat_pb2.SendResults(results=[result]))

    async def SendMessage(self, request: Any, context: Any) -> chat_pb2.SendMessageResponse:
        user, _ = await caller(self.stage, context)
        appended = await told(context, lambda: self.stage.send(user, request))
        return chat_pb2.SendMessageResponse(appended=appended)

    async def ListEntries(self, request: Any, context: Any) -> chat_pb2.ListEntriesResponse:
        user, _ = await caller(self.stage, context)
        whole = chat_pb2.Entries()
        for part in self.stage.fetch(user, request.fetch):
            whole.MergeFrom(part)
        return chat_pb2.ListEntriesResponse(entries=whole)

    async def ListMessages(self, request: Any, context: Any) -> chat_pb2.ListMessagesResponse:
        user, _ = await caller(self.stage, context)
        log = await told(context, lambda: self.stage.log(request.conversation_id, user, now=False))
        found = [each for each in log.visible(user) if each.HasField("message_appended")]
        found = [each for each in found if each.seq not in log.hidden[user]]
        if request.after_seq:
            found = [each for each in found if each.seq > int(request.page_token or request.after_seq)]
        else:
            limit = int(request.page_token or request.before_seq)
            found = [each for each in found[::-1] if not limit or each.seq < limit]
        size = request.page_size or 50
        more = str(found[size - 1].seq) if len(found) > size else ""
        return chat_pb2.ListMessagesResponse(messages=found[:size], next_page_token=more)

    async def Locate(self, request: Any, context: Any) -> chat_pb2.LocateResponse:
        user, _ = await caller(self.stage, context)
        return chat_pb2.LocateResponse(home=self.stage.home(user))


# The stage serves only what the SDK's tests use; the rest answers UNIMPLEMENTED as the generated servicer does.
Chat.__abstractmethods__ = frozenset()


class Conversations(ConversationChanges, conversation_pb2_grpc.ConversationServiceServicer):
    """ConversationService on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def GetOrCreateDirect(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        pair = sorted([user, request.peer_id])
        log = self.stage.create((pair[0][:16] + pair[1][:16]), 1, "", user, pair)
        return conversation_pb2.GetOrCreateDirectResponse(conversation=self.stage.conversation(log, user))

    async def CreateGroup(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        await told(context, lambda: self.stage.check_may_be_added(request.member_ids))
        conversation = request.request_id.replace("-", "")
        log = self.stage.create(conversation, 2, request.title, user, [user, *request.member_ids])
        return conversation_pb2.CreateGroupResponse(conversation=self.stage.conversation(log, user))

    async def GetConversation(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        log = await told(context, lambda: self.stage.log(request.conversation_id, user))
        return conversation_pb2.GetConversationResponse(conversation=self.stage.conversation(log, user))

    async def ListConversations(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        mine = [log for log in self.stage.logs.values() if user in log.members and not log.members[user][1]]
        return conversation_pb2.ListConversationsResponse(
            conversations=[self.stage.conversation(log, user) for log in mine]
        )


Conversations.__abstractmethods__ = frozenset()


class Accounts(AccountChanges, account_pb2_grpc.AccountServiceServicer):
    """AccountService on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def Register(self, request: Any, context: Any) -> Any:
        name = request.login_name.lower()
        if name in self.stage.passwords:
            await abort(context, status("ALREADY_EXISTS", "LOGIN_NAME_TAKEN"))
        user = uuid4().hex
        self.stage.passwords[name] = (request.password, user)
        self.stage.users[user] = account_pb2.Profile(
            user_id=user, login_name=name, display_name=request.display_name or name
        )
        return account_pb2.RegisterResponse(session=self.stage.sign_in(user))

    async def Login(self, request: Any, context: Any) -> Any:
        password, user = self.stage.passwords.get(request.login_name.lower(), ("", ""))
        if not user or password != request.password:
            await abort(context, status("UNAUTHENTICATED", "CREDENTIALS_INVALID"))
        return account_pb2.LoginResponse(session=self.stage.sign_in(user, request.device.device_id))

    async def RefreshToken(self, request: Any, context: Any) -> Any:
        user, device = self.stage.refresh.pop(request.refresh_token, ("", ""))
        if not user or device in self.stage.revoked:
            await abort(context, status("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"))
        return account_pb2.RefreshTokenResponse(session=self.stage.sign_in(user, device))

    async def Logout(self, request: Any, context: Any) -> Any:
        _, device = await caller(self.stage, context)
        self.stage.revoke(device)
        return account_pb2.LogoutResponse()

    async def GetProfile(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        found = self.stage.users.get(request.user_id or user)
        if found is None:
            await abort(context, status("NOT_FOUND", "USER_NOT_FOUND"))
        return account_pb2.GetProfileResponse(profile=found)

    async def SearchUsers(self, request: Any, context: Any) -> Any:
        await caller(self.stage, context)
        found = [each for each in self.stage.users.values() if each.login_name.startswith(request.query.lower())]
        return account_pb2.SearchUsersResponse(profiles=found)


Accounts.__abstractmethods__ = frozenset()


async def serve(stage: Stage) -> tuple[grpc.aio.Server, str]:
    """The stage on a free port; its address."""
    server = grpc.aio.server()
    chat_pb2_grpc.add_ChatServiceServicer_to_server(Chat(stage), server)  # type: ignore[abstract]
    conversation_pb2_grpc.add_ConversationServiceServicer_to_server(Conversations(stage), server)
    account_pb2_grpc.add_AccountServiceServicer_to_server(Accounts(stage), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"
