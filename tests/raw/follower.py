"""A raw device that stays up to date like an app: over broken streams, temporary refusals and gaps."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from heapq import nsmallest
from typing import Self

from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import of_status
from tests.raw.stream import StreamEnded

PAUSE_S = 0.1
RETRY_S = 0.5
PAGE = 100
RETRYABLE_CODES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class Follower:
    """Keeps a stream open, fetches the conversations that `changes` lists, and resends sends that were not
    answered. An async context manager. `where` is as for RawDevice.dial.

    `taken` has the seqs of its sends by client_message_id, every one that was answered, repeats included. What is
    refused for good is a complaint at the end, unless `on_result` says otherwise.
    """

    def __init__(self, device: RawDevice, **where: str) -> None:
        self.device = device
        self.acknowledged: dict[str, set[int]] = {}
        self.resyncs: list[int] = []
        self.streams = 0
        self._where = where
        self._cursor: chat_pb2.Cursor | None = None
        self._unanswered: dict[str, tuple[str, str]] = {}
        self._sent: set[str] = set()
        self._complaints: list[str] = []
        # Up to which seq it has all that it may see, by conversation, as far as it knows from fetches.
        self._has_all: dict[str, int] = {}
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        await eventually(lambda: self.resyncs)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        assert not self._complaints, self._complaints

    def send(self, conversation_id: str, body: str) -> str:
        """Queue a send, in call order, resent until it is answered; return the client_message_id."""
        key = new_id()
        self._unanswered[key] = (conversation_id, body)
        return key

    async def wait_acknowledged(self, timeout: float = 20.0) -> None:
        """Wait until every send is answered; check that each has one seq."""
        await eventually(lambda: not self._unanswered, timeout)
        assert all(len(seqs) == 1 for seqs in self.acknowledged.values()), "one id, two seqs"

    def seqs(self, *keys: str) -> list[int]:
        """Return the seqs of acknowledged sends."""
        return [min(self.acknowledged[key]) for key in keys]

    async def _run(self) -> None:
        while True:
            try:
                await self._one_stream()
            # The stream ended before what was waited for came, or none could be had.
            except* (AssertionError, StreamEnded):
                await self.device.close()
            await asyncio.sleep(PAUSE_S)

    def on_result(self, key: str, answer: chat_pb2.SendResult) -> None:
        """Record a result that is no temporary refusal; called again for a repeated result."""
        if answer.HasField("appended"):
            self.acknowledged.setdefault(key, set()).add(answer.appended.seq)
        else:
            self._complaints.append(str(answer))

    def on_caught_up(self, opened_at: float) -> None:
        """Called after every conversation of a stream's first `changes` was fetched."""

    async def _one_stream(self) -> None:
        opened_at = time.monotonic()
        await self.device.open(self._cursor, **self._where)
        self.streams += 1
        self._sent.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_pending())
            group.create_task(self._read_changes(opened_at))

    async def _read_changes(self, opened_at: float) -> None:
        stream, first = self.device.stream, True
        while stream.open:
            named, cursor = await self._next_changes()
            lacking = [each for each, head in self.device.heads.items() if self._contiguous(each) < head]
            for conversation_id in dict.fromkeys([*named, *lacking]):
                await self._catch_up(conversation_id)
            # Only now has it looked at all of them.
            self._cursor = cursor or self._cursor
            if first and cursor is not None:
                first = False
                self.on_caught_up(opened_at)
        raise AssertionError("the stream ended")

    async def _next_changes(self) -> tuple[list[str], chat_pb2.Cursor | None]:
        named: list[str] = []
        while self.device.stream.open:
            with suppress(AssertionError):
                page: chat_pb2.Changes = await self.device.stream.next_frame("changes", timeout=PAUSE_S)
                named += page.conversation_ids
                self.resyncs.append(page.resync)
                if not page.last_page:
                    continue
                return named, page.cursor if page.HasField("cursor") else None
            if not named:
                break
        return named, None

    async def _catch_up(self, conversation_id: str) -> None:
        while True:
            after = self._contiguous(conversation_id)
            [result] = (await self.device.fetch(conversation_id, after, PAGE)).ranges
            if result.HasField("status"):
                self._complaints.append(str(result))
                return
            if result.complete:
                self._has_all[conversation_id] = result.head_seq
                return
            # A whole page: what lies between its entries is not for these eyes.
            page = nsmallest(PAGE, (seq for seq in self.device.logs[conversation_id] if seq > after))
            self._has_all[conversation_id] = page[-1]

    def _contiguous(self, conversation_id: str) -> int:
        log, seq = self.device.logs[conversation_id], self._has_all.get(conversation_id, 0)
        while seq + 1 in log:
            seq += 1
        self._has_all[conversation_id] = seq
        return seq

    async def _send_pending(self) -> None:
        """Send in order, as the only writer; after a temporary refusal resend all later sends of its conversation."""
        while self.device.stream.open:
            for key, (conversation_id, body) in list(self._unanswered.items()):
                if key not in self._sent:
                    self._sent.add(key)
                    await self.device.send(conversation_id, body, client_message_id=key)
            if refused := self._take_results():
                await asyncio.sleep(RETRY_S)
                self._mark_for_resend(refused | self._take_results())
            await asyncio.sleep(PAUSE_S / 10)

    def _mark_for_resend(self, refused: set[str]) -> None:
        """Mark refused sends, and later ones of their conversations, for resend; earlier ones are in flight."""
        held = set[str]()
        for key, (conversation_id, _) in self._unanswered.items():
            if key in refused or conversation_id in held:
                held.add(conversation_id)
                self._sent.discard(key)

    def _take_results(self) -> set[str]:
        """Record received results; return the sends that were refused temporarily."""
        again = set[str]()
        for key in list(self.device.answers):
            for answer in self.device.answers.pop(key):
                if not answer.HasField("appended") and of_status(answer.refused).code in RETRYABLE_CODES:
                    again.add(key)
                    continue
                self._unanswered.pop(key, None)
                self.on_result(key, answer)
        return again
