"""A whole Parley in one process and in memory, over real gRPC, that can be told to misbehave.

It keeps the contract as far as the SDK uses it, so that the SDK's own tests can script what a healthy system
never does: lost frames, refusals, drains, silence. What it promises is tested elsewhere, on the real servers.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from parley.chat.v1 import (
    account_pb2,
    chat_pb2,
    conversation_pb2,
    entry_pb2,
)

Frame = chat_pb2.ConnectResponse
CODES = {code.name: code.value[0] for code in grpc.StatusCode}


def status(code: str, reason: str, retry_after: float | None = None, message: str = "", **metadata: str) -> Status:
    """A status as a Parley server gives it."""
    details: list[Any] = [ErrorInfo(reason=reason, domain="parley", metadata=metadata)]
    if retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(retry_after * 1000))
        details.append(RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(AnyProto())
        packed[-1].Pack(detail)
    return Status(code=CODES[code], message=message or reason.lower().replace("_", " "), details=packed)


NOT_FOUND = status("NOT_FOUND", "CONVERSATION_NOT_FOUND")


class Refused(Exception):
    def __init__(self, told: Status) -> None:
        self.told = told


@dataclass(eq=False)
class Stream:
    user: str
    device: str
    edge: str
    frames: asyncio.Queue[Frame | None] = field(default_factory=asyncio.Queue)
    refused: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Log:
    id: str
    kind: int
    title: str
    members: dict[str, list[int]]  # user -> [from, to] seqs; to 0: still a member
    entries: list[entry_pb2.Entry] = field(default_factory=list)
    keys: dict[str, tuple[chat_pb2.Appended, bytes]] = field(default_factory=dict)
    marks: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    changed: int = 0
    roles: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, chat_pb2.PersonalSettings] = field(
        default_factory=lambda: defaultdict(chat_pb2.PersonalSettings)
    )
    hidden: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def visible(self, user: str) -> list[entry_pb2.Entry]:
        first, last = self.members[user]
        return [each for each in self.entries if each.seq >= first and (not last or each.seq <= last)]


class Stage:
    """The state of the world, and the switches: `filter` may drop or change any frame on its way down."""

    def __init__(self) -> None:
        self.users: dict[str, account_pb2.Profile] = {}
        self.passwords: dict[str, tuple[str, str]] = {}
        self.tokens: dict[str, tuple[str, str, float]] = {}
        self.refresh: dict[str, tuple[str, str]] = {}
        self.revoked: set[str] = set()
        self.logs: dict[str, Log] = {}
        self.privacy: dict[str, account_pb2.Privacy] = defaultdict(account_pb2.Privacy)
        self.blocks: dict[str, dict[str, None]] = defaultdict(dict)
        self.streams: dict[str, Stream] = {}
        self.connects: list[tuple[str, str]] = []
        self.received: list[chat_pb2.ConnectRequest] = []
        self.homes = ["server-a:1", "server-b:1"]
        self.generation = 1
        self.now = 1
        self.heartbeat = 5.0
        self.token_life = 600.0
        self.clock_offset = 0.0
        self.refusals: list[Status] = []
        self.filter: Callable[[Stream, Frame], Frame | None] = lambda _, frame: frame
        self.mute = False
        self.page = 500
        self.device_names = "device {}"

    def home(self, user: str) -> str:
        return self.homes[int(user[0], 16) % len(self.homes)]

    def down(self, stream: Stream, **frame: Any) -> None:
        passed = None if self.mute else self.filter(stream, Frame(**frame))
        if passed is not None:
            stream.frames.put_nowait(passed)

    def end(self, stream: Stream, told: Status) -> None:
        self.down(stream, error=chat_pb2.StreamError(status=told, final=True))
        stream.frames.put_nowait(None)

    def streams_of(self, users: set[str]) -> list[Stream]:
        return [stream for stream in self.streams.values() if stream.user in users]

    # Accounts.

    def sign_in(self, user: str, device: str = "") -> account_pb2.Session:
        device = device or uuid4().hex
        token, refresh, ends = uuid4().hex, uuid4().hex, time.time() + self.clock_offset + self.token_life
        self.tokens[token] = (user, device, time.time() + self.token_life)
        self.refresh[refresh] = (user, device)
        session = account_pb2.Session(
            user_id=user, device_id=device, access_token=token, refresh_token=refresh, home=self.home(user)
        )
        session.access_token_expire_time.FromMilliseconds(round(ends * 1000))
        return session

    def caller(self, token: str) -> tuple[str, str]:
        user, device, ends = self.tokens.get(token.removeprefix("Bearer "), ("", "", 0.0))
        if not user or ends < time.time():
            raise Refused(status("UNAUTHENTICATED", "TOKEN_EXPIRED" if user else "TOKEN_INVALID"))
        if device in self.revoked:
            raise Refused(status("UNAUTHENTICATED", "DEVICE_REVOKED"))
        return user, device

    def revoke(self, device: str) -> None:
        self.revoked.add(device)
        if stream := self.streams.get(device):
            self.end(stream, status("UNAUTHENTICATED", "DEVICE_REVOKED"))

    # Conversations.

    def log(self, conversation: str, user: str, *, now: bool = True) -> Log:
        log = self.logs.get(conversation)
        if log is None or user not in log.members or (now and log.members[user][1]):
            raise Refused(NOT_FOUND)
        return log

    def check_may_be_added(self, users: list[str]) -> None:
        for user in users:
            if self.privacy[user].who_may_add == account_pb2.WHO_MAY_ADD_NOBODY:
                raise Refused(status("PERMISSION_DENIED", "BLOCKED", user_id=user))

    def create(self, conversation: str, kind: int, title: str, actor: str, users: list[str]) -> Log:
        if conversation not in self.logs:
            log = self.logs[conversation] = Log(conversation, kind, title, {user: [1, 0] for user in users})
            log.roles[actor] = entry_pb2.ROLE_ADMIN if kind == 2 else entry_pb2.ROLE_MEMBER
            self.change_members(log, actor, entry_pb2.MembershipChanged.KIND_CREATED, users)
        return self.logs[conversation]

    def change_members(self, log: Log, actor: str, kind: Any, users: list[str]) -> None:
        roles = {user: log.roles.setdefault(user, entry_pb2.ROLE_MEMBER) for user in users}
        members = [entry_pb2.Member(user_id=user, role=role) for user, role in roles.items()]
        changed = entry_pb2.MembershipChanged(kind=kind, members=members)
        if kind == entry_pb2.MembershipChanged.KIND_ADDED:
            log.members.update({user: [len(log.entries) + 1, 0] for user in users})
        self.append(log, entry_pb2.Entry(actor_id=actor, membership_changed=changed))
        if kind in (entry_pb2.MembershipChanged.KIND_REMOVED, entry_pb2.MembershipChanged.KIND_LEFT):
            for user in users:
                log.members[user][1] = len(log.entries)

    def append(self, log: Log, entry: entry_pb2.Entry) -> chat_pb2.Appended:
        entry.conversation_id, entry.seq = log.id, len(log.entries) + 1
        entry.create_time.GetCurrentTime()
        before = log.entries[-1].message_number if log.entries else 0
        entry.message_number = before + entry.HasField("message_appended")
        log.entries.append(entry)
        log.changed = self.now = self.now + 1
        if entry.HasField("message_appended"):
            self.mark(log, entry.actor_id, entry.seq, entry.seq, silent=True)
        for stream in self.streams_of({user for user, span in log.members.items() if not span[1]}):
            self.down(stream, entries=chat_pb2.Entries(entries=[shown(entry, stream.user)]))
        return chat_pb2.Appended(seq=entry.seq, create_time=entry.create_time)

    def mark(self, log: Log, user: str, delivered: int, read: int, *, silent: bool = False) -> None:
        mark, head = log.marks[user], len(log.entries)
        new = [min(head, max(mark[0], delivered, read)), min(head, max(mark[1], read))]
        if new != mark:
            log.marks[user] = new
            log.changed = self.now = self.now + 1
            for stream in [] if silent else self.streams_of(set(log.members)):
                self.down(stream, watermarks=chat_pb2.Watermarks(watermarks=[self.watermark(log, user)]))

    def watermark(self, log: Log, user: str) -> chat_pb2.Watermark:
        delivered, read = log.marks[user]
        return chat_pb2.Watermark(conversation_id=log.id, user_id=user, delivered_seq=delivered, read_seq=read)

    def send(self, user: str, request: chat_pb2.SendMessageRequest) -> chat_pb2.Appended:
        log = self.log(request.conversation_id, user)
        key, said = user + request.client_message_id, request.content.SerializeToString()
        if key in log.keys:
            appended, content = log.keys[key]
            if content != said:
                raise Refused(status("ALREADY_EXISTS", "MESSAGE_ID_REUSED"))
            return appended
        message = entry_pb2.MessageAppended(content=request.content)
        appended = self.append(
            log,
            entry_pb2.Entry(actor_id=user, client_message_id=request.client_message_id, message_appended=message),
        )
        log.keys[key] = (appended, said)
        return appended

    def unread(self, log: Log, user: str) -> int:
        read = log.marks[user][1]
        return sum(1 for each in log.visible(user) if each.HasField("message_appended") and each.seq > read)

    def fetch(self, user: str, fetch: chat_pb2.Fetch) -> list[chat_pb2.Entries]:
        return [self.range(user, wanted) for wanted in fetch.ranges]

    def range(self, user: str, wanted: chat_pb2.EntryRange) -> chat_pb2.Entries:
        result = chat_pb2.RangeResult(conversation_id=wanted.conversation_id, after_seq=wanted.after_seq)
        try:
            log = self.log(wanted.conversation_id, user, now=False)
        except Refused as refused:
            result.status.CopyFrom(refused.told)
            return chat_pb2.Entries(ranges=[result])
        seen = log.visible(user)
        found = [each for each in seen if each.seq > wanted.after_seq][: min(self.page, wanted.limit or 100)]
        result.head_seq = seen[-1].seq if seen else 0
        result.first_seq = 1
        result.complete = not found or found[-1].seq == result.head_seq
        result.watermarks.extend(self.watermark(log, each) for each in log.members)
        result.unread_count = self.unread(log, user)
        result.settings.CopyFrom(log.settings[user])
        result.hidden_seqs.extend(sorted(log.hidden[user]))
        return chat_pb2.Entries(entries=[shown(each, user) for each in found], ranges=[result])

    def changes(self, user: str, cursor: chat_pb2.Cursor | None) -> chat_pb2.Changes:
        resync = chat_pb2.Changes.RESYNC_UNSPECIFIED
        since = cursor.time_ms if cursor else 0
        if cursor is None:
            resync = chat_pb2.Changes.RESYNC_NO_CURSOR
        elif cursor.generation != self.generation:
            resync, since = chat_pb2.Changes.RESYNC_OTHER_GENERATION, 0
        named = [log.id for log in self.logs.values() if user in log.members and log.changed > since]
        here = chat_pb2.Cursor(generation=self.generation, time_ms=self.now)
        return chat_pb2.Changes(conversation_ids=named, resync=resync, cursor=here, last_page=True)

    def conversation(self, log: Log, user: str) -> conversation_pb2.Conversation:
        seen, muted = log.visible(user), log.settings[user].HasField("mute_until_time")
        return conversation_pb2.Conversation(
            conversation_id=log.id,
            kind=log.kind,  # type: ignore[arg-type]
            title=log.title,
            members=[
                entry_pb2.Member(user_id=each, role=log.roles.get(each, entry_pb2.ROLE_MEMBER))
                for each, span in log.members.items()
                if not span[1]
            ],
            head_seq=seen[-1].seq,
            first_seq=1,
            head=seen[-1],
            unread_count=self.unread(log, user),
            delivered_seq=log.marks[user][0],
            read_seq=log.marks[user][1],
            pinned=log.settings[user].pinned,
            archived=log.settings[user].archived,
            mute_until_time=log.settings[user].mute_until_time if muted else None,
        )

    def recheck(self, log: Log, user: str) -> None:
        log.changed = self.now = self.now + 1
        for stream in self.streams_of({user}):
            self.down(stream, changes=chat_pb2.Changes(conversation_ids=[log.id], last_page=True))

    def drain(self, delay: float = 0.0) -> None:
        wait = Duration()
        wait.FromMilliseconds(round(delay * 1000))
        for stream in self.streams.values():
            self.down(stream, drain=chat_pb2.Drain(delay=wait))

    def break_streams(self) -> None:
        for stream in self.streams.values():
            self.end(stream, status("UNAVAILABLE", "SERVER_DRAINING", 0.0))


def shown(entry: entry_pb2.Entry, user: str) -> entry_pb2.Entry:
    copy = entry_pb2.Entry()
    copy.CopyFrom(entry)
    if user != entry.actor_id:
        copy.client_message_id = ""
    return copy
