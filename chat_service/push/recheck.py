"""The re-check of pushes: recent entries are offered again when the server that handled them may have died."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

from chat_service.model.conversation import Conversation
from chat_service.model.entry import Entry
from chat_service.model.stores import ConversationLog
from chat_service.owner.ports import RingView
from servicekit.retry import retry_while_unavailable
from servicekit.ring import Ring
from servicekit.tasks import cancel_requested, gather_limited

INTERVAL_S: Final = 1.0
MAX_CONCURRENT_CONVERSATIONS: Final = 8
# Of a conversation, so many of its newest entries are offered again at most.
MAX_ENTRIES: Final = 100
# An entry gets its time a moment before its conversation is touched.
TOUCH_DELAY_MS: Final = 5_000

_rechecked = Counter("parley_push_entries_rechecked", "Entries offered for pushes again after the death of a server")

log = structlog.get_logger("push.recheck")


class TouchedConversations(Protocol):
    """The conversations that processes of chat servers touched last. Each method raises StoreUnavailable."""

    async def list_dead_processes(self) -> Sequence[str]:
        """Return the processes that touched conversations lately and do not run any more."""

    async def read(self, process: str) -> Mapping[str, int]:
        """Return the last conversations of a process, and the time of the touch of each (Unix ms)."""


class PushFanOut(Protocol):
    """The fan-out to homes for pushes alone."""

    async def offer_lost(self) -> int:
        """Offer again what homes may have lost; return the number of deliveries."""

    def offer_entries(self, users: Collection[str], entries: Sequence[Entry]) -> None:
        """Offer entries of one conversation to the homes of `users`."""


class ConversationReader(Protocol):
    """Reads conversations."""

    async def load_conversation(self, conversation_id: str) -> Conversation | None:
        """Return the present state of a conversation, or None if it does not exist. Raise StoreUnavailable."""


class PushRecheck:
    """Offers recent entries for pushes again: those that a home may have lost, and those of an owner that died.

    An owner that died may have appended entries and published none of them. The present owners of the conversations
    that it touched last publish its last entries for pushes alone; the notify service drops those that were pushed or
    read already. `owns` returns True if this server owns a conversation.
    """

    def __init__(
        self,
        touched: TouchedConversations,
        fan_out: PushFanOut,
        ring: RingView,
        owns: Callable[[str], bool],
        conversations: ConversationReader,
        conversation_log: ConversationLog,
    ) -> None:
        self._touched = touched
        self._fan_out = fan_out
        self._ring = ring
        self._owns = owns
        self._conversations = conversations
        self._log = conversation_log
        # By dead process: the conversations whose entries this server has offered again.
        self._checked: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Look for what must be offered again every INTERVAL_S seconds until cancelled."""
        checked: Ring | None = None
        while not cancel_requested():
            if (offered := await self._fan_out.offer_lost()) > 0:
                log.info("deliveries offered for pushes again", deliveries=offered)
            ring = self._ring.ring
            if ring is not checked and self._ring.me.server_id in ring.members:
                checked = ring
                await retry_while_unavailable("recheck_pushes", self._recheck_processes)
            await asyncio.sleep(INTERVAL_S)

    async def _recheck_processes(self) -> None:
        """Offer the last entries of every dead process, as far as their conversations are owned by this server now."""
        dead = await self._touched.list_dead_processes()
        self._checked = {process: self._checked.get(process, set()) for process in dead}
        for process, checked in self._checked.items():
            await self._recheck_process(process, checked)

    async def _recheck_process(self, process: str, checked: set[str]) -> None:
        touched = await self._touched.read(process)
        owned = [each for each in touched.items() if each[0] not in checked and self._owns(each[0])]
        counts = await gather_limited(self._recheck_conversation, owned, limit=MAX_CONCURRENT_CONVERSATIONS)
        checked |= {conversation_id for conversation_id, _ in owned}
        if owned:
            _rechecked.inc(sum(counts))
            log.info("pushes of a dead server checked", process=process, conversations=len(owned), entries=sum(counts))

    async def _recheck_conversation(self, touched: tuple[str, int]) -> int:
        """Offer the entries since a touch, which are those of about 30 s, and return their number."""
        conversation_id, time_ms = touched
        conversation = await self._conversations.load_conversation(conversation_id)
        headers = await self._log.read_tail(conversation_id, MAX_ENTRIES)
        seqs = [each.head.seq for each in headers if each.head.time_ms >= time_ms - TOUCH_DELAY_MS]
        if conversation is None or not seqs:
            return 0
        page = await self._log.read_page(conversation_id, seqs[0], len(seqs))

        def readers(entry: Entry) -> list[str]:
            return [user for user in conversation.members if conversation.can_see(user, entry.seq)]

        for users, entries in groupby(page.entries, readers):
            self._fan_out.offer_entries(users, list(entries))
        return len(page.entries)
