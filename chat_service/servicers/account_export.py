"""The archive of an account: everything that is kept about a user, made while it is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.archive import ArchiveFile, stream_zip
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.profiles import ProfileService
from chat_service.errors import RateLimited
from chat_service.history.history import ConversationSummary, FetchedRange, History, RangeRequest
from chat_service.model.entry import Entry, MessageEdited
from chat_service.wire import export
from servicekit.auth import Claims
from servicekit.clock import Clock

# Archives a server makes at a time: each is work for nobody's chat.
MAX_CONCURRENT_EXPORTS: Final = 4
RETRY_AFTER_S: Final = 30.0
STALL_TIMEOUT_S: Final = 30.0
CONVERSATIONS: Final = 50
ENTRIES: Final = 200
BLOCKED: Final = 500


class AccountExport:
    """Streams archives: one per user, at most MAX_CONCURRENT_EXPORTS per server.

    Of each archive at most one page of entries and one chunk are in memory.
    """

    def __init__(
        self, accounts: Accounts, profiles: ProfileService, blocks: BlockService, history: History, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._people = profiles
        self._blocking = blocks
        self._history = history
        self._clock = clock
        # For whom, and when the last part of it was taken.
        self._under_way: dict[str, float] = {}

    async def stream(self, caller: Claims) -> AsyncGenerator[bytes, None]:
        """Yield the caller's archive in chunks. Raises RateLimited."""
        user_id = caller.user_id
        if user_id in self._under_way:
            raise RateLimited("an archive is being made for you already", retry_after=RETRY_AFTER_S)
        now = self._clock.monotonic()
        # Who does not read keeps nobody waiting.
        if sum(now - moved < STALL_TIMEOUT_S for moved in self._under_way.values()) >= MAX_CONCURRENT_EXPORTS:
            raise RateLimited("too many archives are being made at the moment", retry_after=RETRY_AFTER_S)
        self._under_way[user_id] = now
        try:
            async for chunk in stream_zip(self._files(caller), self._clock.now_ms()):
                yield chunk
                self._under_way[user_id] = self._clock.monotonic()
        finally:
            del self._under_way[user_id]

    async def _files(self, caller: Claims) -> AsyncIterator[ArchiveFile]:
        yield ArchiveFile("README.txt", self._readme())
        yield ArchiveFile("profile.json", self._profile(caller.user_id))
        yield ArchiveFile("devices.json", self._devices(caller))
        yield ArchiveFile("blocks.json", self._blocked(caller.user_id))
        yield ArchiveFile("conversations.jsonl", self._conversations(caller.user_id))
        async for overview in self._overviews(caller.user_id):
            # It may take long, and the device may be signed out meanwhile.
            await self._accounts.admit(caller)
            conversation_id = overview.visible.conversation.conversation_id
            yield ArchiveFile(f"conversations/{conversation_id}.jsonl", self._entries(caller.user_id, conversation_id))

    async def _readme(self) -> AsyncIterator[bytes]:
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        yield export.README.format(time=f"{now:%Y-%m-%d %H:%M} UTC").encode()

    async def _profile(self, user_id: str) -> AsyncIterator[bytes]:
        yield export.encode_profile(await self._people.get_profile(user_id), await self._people.get_privacy(user_id))

    async def _devices(self, caller: Claims) -> AsyncIterator[bytes]:
        yield export.encode_devices(await self._accounts.list_devices(caller.user_id), caller.device_id)

    async def _blocked(self, user_id: str) -> AsyncIterator[bytes]:
        after, first = "", True
        while first or after:
            found = await self._blocking.list_blocked(user_id, after, BLOCKED)
            yield export.encode_id_page(found, first=first)
            after, first = found[-1] if len(found) == BLOCKED else "", False
        yield b"]\n"

    async def _conversations(self, user_id: str) -> AsyncIterator[bytes]:
        async for overview in self._overviews(user_id):
            names = await self._people.load_profiles(overview.visible.conversation.members)
            yield export.encode_conversation(overview, names, user_id)

    async def _entries(self, user_id: str, conversation_id: str) -> AsyncIterator[bytes]:
        after, complete = 0, False
        while not complete:
            [found] = await self._history.read_ranges(user_id, [RangeRequest(conversation_id, after, ENTRIES)])
            if not isinstance(found, FetchedRange) or not found.entries:
                # It was left and forgotten meanwhile, or has no more.
                return
            hidden = set(found.visible.settings.hidden)
            seen = [entry for entry in found.entries if entry.seq not in hidden and _edits(entry) not in hidden]
            yield await asyncio.to_thread(export.encode_entries, seen, user_id)
            after, complete = found.entries[-1].seq, found.complete

    async def _overviews(self, user_id: str) -> AsyncIterator[ConversationSummary]:
        after, more = "", True
        while more:
            overviews, after = await self._history.list_summaries(user_id, after, CONVERSATIONS)
            for overview in overviews:
                yield overview
            more = bool(after)


def _edits(entry: Entry) -> int:
    """The seq of the message of which an entry holds words; 0 for others."""
    return entry.change.target_seq if isinstance(entry.change, MessageEdited) else 0
