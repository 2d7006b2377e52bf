"""Loading a conversation into the memory of its owner, and the lookups needed before the next seq is given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Final

from chat_service.model.conversation import Conversation, apply_entry
from chat_service.model.entry import Entry, EntryHeader, MessageMutation, redact_mutation
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.append_spans import NO_TRACES
from chat_service.owner.owned_conversation import OwnedConversation
from chat_service.owner.ports import Publisher
from servicekit.clock import Clock

# The entries whose authors count as readers after a load. An owner that died may not have stored these watermarks, and
# rarely has more entries in flight in one conversation.
TAIL_ENTRIES: Final = 20


class ConversationLoader:
    """Loads conversations from the stores. Every method raises StoreUnavailable."""

    def __init__(
        self,
        conversation_log: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._log = conversation_log
        self._conversations = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock

    async def refresh(self, owned: OwnedConversation) -> set[str]:
        """Load the conversation if it is not loaded, and look up the targets and keys of its queued sends.

        Return the members whose watermarks are higher than the stored ones, because they wrote entries of the tail.
        """
        authors = set[str]()
        while not owned.loaded:
            epoch = owned.invalidation_epoch
            conversation, tail = await self._load(owned.conversation_id)
            owned.blocked = conversation is not None and await self._conversations.is_blocked(conversation)
            authors |= owned.adopt_loaded_state(conversation, tail)
            # After an invalidation during the load, the state read may be older than the invalidation.
            owned.loaded = owned.invalidation_epoch == epoch
        # Both are of the sends queued now. A send queued during the lookups is looked up by the next refresh.
        seqs, keys = owned.target_seqs(), owned.keys_to_look_up(self._clock.now_ms())
        if seqs:
            owned.targets = await self._log.load_targets(owned.conversation_id, seqs, contents=owned.has_edits())
        if keys:
            found = await self._log.find_by_keys(owned.conversation_id, keys)
            if found:
                await self._republish(owned, found)
            owned.apply_dedup_lookup(keys, {entry.key: entry for entry in found})
        return authors

    async def _load(self, conversation_id: str) -> tuple[Conversation | None, Sequence[EntryHeader]]:
        conversation, tail = await asyncio.gather(
            self._conversations.load(conversation_id), self._log.read_tail(conversation_id, TAIL_ENTRIES)
        )
        stored = conversation
        applied = conversation.applied_seq if conversation else 0
        if tail and tail[-1].head.seq > applied:
            changes = await self._log.state_changes_after(conversation_id, applied)
            if mutations := [entry for entry in changes if isinstance(entry.change, MessageMutation)]:
                await self._log.apply_mutations(mutations)
            for entry in changes:
                conversation = apply_entry(conversation, entry)
        # An owner may have died after the append and before it stored the conversation.
        if conversation is not None and conversation != stored:
            await self._conversations.save(conversation)
        return conversation, tail

    async def _republish(self, owned: OwnedConversation, found: Sequence[Entry]) -> None:
        """Publish entries found by a retry again, because the owner that appended them may have died before it did."""
        former = {entry.seq: owned.former_readers(entry) for entry in found}
        readers = dict.fromkeys([*owned.member_ids(), *chain.from_iterable(former.values())])
        await self._index.touch({owned.conversation_id: list(readers)})
        for entry in sorted(found, key=lambda entry: entry.seq):
            # A member who joined later must not see the entry.
            users = [
                user
                for user in owned.member_ids()
                if owned.conversation and owned.conversation.can_see(user, entry.seq)
            ]
            self._publisher.publish(users, [entry], NO_TRACES)
            if former[entry.seq]:
                self._publisher.publish(former[entry.seq], [redact_mutation(entry)], NO_TRACES)
