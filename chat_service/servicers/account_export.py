"""The export of an account: an archive of all data kept about a user, built while it is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.archive import ArchiveFile, stream_zip
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.profiles import ProfileService
from chat_service.history.history import ConversationSummary, FetchedRange, History, RangeRequest
from chat_service.model.entry import Entry, MessageEdited
from chat_service.wire import export
from parley.internal.v1.media_pb2 import ListOwnedMediaResponse
from parley.internal.v1.personal_data_pb2 import PersonalFile
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.errors import RateLimited

# A bound per server: exports compete with chat for its CPU and store.
MAX_CONCURRENT_EXPORTS: Final = 4
RETRY_AFTER_S: Final = 30.0
# An export whose client has read nothing for this long does not count against MAX_CONCURRENT_EXPORTS.
STALL_TIMEOUT_S: Final = 30.0
CONVERSATIONS_PAGE: Final = 50
ENTRIES_PAGE: Final = 200
BLOCKED_PAGE: Final = 500

ListOwnedMedia = Callable[[str, str], Awaitable[ListOwnedMediaResponse]]
"""Returns a page of a user's files: `(user_id, page_token)`. Raises StoreUnavailable, ServiceUnavailable."""

ExportUser = Callable[[str], Awaitable[Sequence[PersonalFile]]]
"""Returns what other services keep about a user. Raises StoreUnavailable, ServiceUnavailable."""


class AccountExport:
    """Streams archives: one at a time for each user, at most MAX_CONCURRENT_EXPORTS for each server.

    At most one page of entries and one chunk of each archive are in memory.
    """

    def __init__(
        self,
        accounts: Accounts,
        profiles: ProfileService,
        blocks: BlockService,
        history: History,
        list_media: ListOwnedMedia,
        export_others: ExportUser,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._profiles = profiles
        self._blocks = blocks
        self._history = history
        self._list_media = list_media
        self._export_others = export_others
        self._clock = clock
        # When the client last read a chunk, by user, in seconds of the monotonic clock.
        self._last_read: dict[str, float] = {}

    async def stream(self, caller: Claims) -> AsyncGenerator[bytes, None]:
        """Yield the caller's archive in chunks.

        Raise RateLimited if an export of the caller, or MAX_CONCURRENT_EXPORTS of other users, are running.
        Raise DeviceRevoked if the calling device is signed out meanwhile. Raise ServiceUnavailable or StoreUnavailable
        before the first chunk if another service does not answer.
        """
        user_id = caller.user_id
        if user_id in self._last_read:
            raise RateLimited("an export of this account is running", retry_after=RETRY_AFTER_S)
        now = self._clock.monotonic()
        if sum(now - last_read < STALL_TIMEOUT_S for last_read in self._last_read.values()) >= MAX_CONCURRENT_EXPORTS:
            raise RateLimited("too many exports are running", retry_after=RETRY_AFTER_S)
        self._last_read[user_id] = now
        try:
            media, others = await self._list_media(user_id, ""), await self._export_others(user_id)
            async for chunk in stream_zip(self._files(caller, media, others), self._clock.now_ms()):
                yield chunk
                self._last_read[user_id] = self._clock.monotonic()
        finally:
            del self._last_read[user_id]

    async def _files(
        self, caller: Claims, media: ListOwnedMediaResponse, others: Sequence[PersonalFile]
    ) -> AsyncIterator[ArchiveFile]:
        yield ArchiveFile("README.txt", self._readme())
        # Early, so that the media service is not needed for long.
        yield ArchiveFile("media.jsonl", self._media(caller.user_id, media))
        for file in others:
            yield ArchiveFile(file.name, _once(file.content))
        yield ArchiveFile("profile.json", self._profile(caller.user_id))
        yield ArchiveFile("devices.json", self._devices(caller))
        yield ArchiveFile("blocks.json", self._block_list(caller.user_id))
        yield ArchiveFile("conversations.jsonl", self._conversations(caller.user_id))
        async for summary in self._summaries(caller.user_id):
            # An export may take long, and the device may be signed out meanwhile.
            await self._accounts.admit(caller)
            conversation_id = summary.visible.conversation.conversation_id
            yield ArchiveFile(f"conversations/{conversation_id}.jsonl", self._entries(caller.user_id, conversation_id))

    async def _readme(self) -> AsyncIterator[bytes]:
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        yield export.README.format(time=f"{now:%Y-%m-%d %H:%M} UTC").encode()

    async def _media(self, user_id: str, page: ListOwnedMediaResponse) -> AsyncIterator[bytes]:
        yield export.encode_media(page.files)
        while page.next_page_token:
            page = await self._list_media(user_id, page.next_page_token)
            yield export.encode_media(page.files)

    async def _profile(self, user_id: str) -> AsyncIterator[bytes]:
        yield export.encode_profile(
            await self._profiles.get_profile(user_id), await self._profiles.get_privacy(user_id)
        )

    async def _devices(self, caller: Claims) -> AsyncIterator[bytes]:
        yield export.encode_devices(await self._accounts.list_devices(caller.user_id), caller.device_id)

    async def _block_list(self, user_id: str) -> AsyncIterator[bytes]:
        after, first = "", True
        while first or after:
            found = await self._blocks.list_blocked(user_id, after, BLOCKED_PAGE)
            yield export.encode_id_page(found, first=first)
            after, first = found[-1] if len(found) == BLOCKED_PAGE else "", False
        yield b"]\n"

    async def _conversations(self, user_id: str) -> AsyncIterator[bytes]:
        async for summary in self._summaries(user_id):
            profiles = await self._profiles.load_profiles(summary.visible.conversation.members)
            yield export.encode_conversation(summary, profiles, user_id)

    async def _entries(self, user_id: str, conversation_id: str) -> AsyncIterator[bytes]:
        after, complete = 0, False
        while not complete:
            [found] = await self._history.read_ranges(user_id, [RangeRequest(conversation_id, after, ENTRIES_PAGE)])
            if not isinstance(found, FetchedRange) or not found.entries:
                # The user may not see the conversation any more, or the log ends here.
                return
            hidden = set(found.visible.settings.hidden)
            shown = [entry for entry in found.entries if hidden.isdisjoint((entry.seq, _edited_seq(entry)))]
            yield await asyncio.to_thread(export.encode_entries, shown, user_id)
            after, complete = found.entries[-1].seq, found.complete

    async def _summaries(self, user_id: str) -> AsyncIterator[ConversationSummary]:
        after, more = "", True
        while more:
            summaries, after = await self._history.list_summaries(user_id, after, CONVERSATIONS_PAGE)
            for summary in summaries:
                yield summary
            more = bool(after)


def _edited_seq(entry: Entry) -> int:
    """Return the seq of the message that an entry edits; 0 if it edits none."""
    return entry.change.target_seq if isinstance(entry.change, MessageEdited) else 0


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
