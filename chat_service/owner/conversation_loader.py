"""Bringing a conversation into the owner's memory, and what must be known of it before the next seq is given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from chat_service.model.conversation import Conversation, apply_entry
from chat_service.model.entry import Entry, EntryHeader, MessageMutation
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.owned_conversation import OwnedConversation
from chat_service.owner.ports import Publisher
from servicekit.clock import Clock

# Of so many entries it is known at once who wrote them. An owner that dies may have told no store that their writers
# have read them, and has rarely that many under way in one conversation.
TAIL_ENTRIES: Final = 20


class ConversationLoader:
    """Asks the stores on behalf of one conversation at a time. Every method raises StoreUnavailable."""

    def __init__(
        self,
        store: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._log = store
        self._store = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock

    async def refresh(self, owned: OwnedConversation) -> set[str]:
        """Load what is not loaded, and look up what waits where only the log can tell.

        Those whose watermarks, by what they wrote, are higher than they are kept.
        """
        wrote = set[str]()
        while not owned.loaded:
            told = owned.invalidation_epoch
            conversation, tail = await self._load(owned.conversation_id)
            owned.blocked = conversation is not None and await self._store.is_blocked(conversation)
            wrote |= owned.adopt_loaded_state(conversation, tail)
            # What was read may be of before that which changed meanwhile.
            owned.loaded = owned.invalidation_epoch == told
        # Both of what waits now: what comes while the store is asked is asked for next time.
        seqs, keys = owned.target_seqs(), owned.keys_to_look_up(self._clock.now_ms())
        if seqs:
            owned.targets = await self._log.load_targets(owned.conversation_id, seqs)
        if keys:
            found = await self._log.find_by_keys(owned.conversation_id, keys)
            if found:
                await self._republish(owned, found)
            owned.apply_dedup_lookup(keys, {entry.key: entry for entry in found})
        return wrote

    async def _load(self, conversation_id: str) -> tuple[Conversation | None, Sequence[EntryHeader]]:
        conversation, tail = await asyncio.gather(
            self._store.load(conversation_id), self._log.read_tail(conversation_id, TAIL_ENTRIES)
        )
        kept = conversation
        applied = conversation.applied_seq if conversation else 0
        if tail and tail[-1].head.seq > applied:
            changes = await self._log.state_changes_after(conversation_id, applied)
            if retouches := [entry for entry in changes if isinstance(entry.change, MessageMutation)]:
                await self._log.apply_mutations(retouches)
            for entry in changes:
                conversation = apply_entry(conversation, entry)
        # What the log says and nobody wrote beside it: its writer died in between.
        if conversation is not None and conversation != kept:
            await self._store.save(conversation)
        return conversation, tail

    async def _republish(self, owned: OwnedConversation, found: Sequence[Entry]) -> None:
        """Whoever appended these may have died before anybody learned of them: a retry is told to all once more."""
        await self._index.touch({owned.conversation_id: owned.member_ids()})
        for entry in sorted(found, key=lambda entry: entry.seq):
            # Who came since must not see it.
            users = [
                user
                for user in owned.member_ids()
                if owned.conversation and owned.conversation.can_see(user, entry.seq)
            ]
            self._publisher.publish(users, [entry], "")
