"""A look at one conversation: what may go is removed, in bounded portions, each of which can be done again.

A prefix goes, in this order: `first_seq` rises, its owner learns of it, content is removed; after 30 days the rest of
those entries, which until then answer retries. Whoever begins again after a crash finds how far the last one got.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from chat_service.model.conversation import Conversation, ConversationMember
from chat_service.model.retention import Retention, RetentionPolicy, RetentionRule
from chat_service.retention.ports import (
    ClaimedConversation,
    DueConversation,
    EntryPosition,
    RetentionStore,
    SignedInDevices,
)
from servicekit.clock import Clock

DAY_MS: Final = 24 * 3600 * 1000
# Content that devices lack is kept so long.
MAX_RELAY_MS: Final = 30 * DAY_MS
# A retry may come 30 days after its id was made, which may be some minutes ahead of the entry.
STUB_KEPT_MS: Final = 31 * DAY_MS
# Devices may be signed out without a word to the conversations that wait for them.
SIGN_OUT_CHECK_MS: Final = DAY_MS // 4
# Longer than a look takes; after a crash another one begins then.
CLAIM_MS: Final = 10 * 60 * 1000
BATCH_ENTRIES: Final = 500
MAX_BATCHES: Final = 20


@dataclass(slots=True)
class SweepResult:
    """What a look removed: the content of so many entries, and so many entries as a whole."""

    contents: int = 0
    stubs: int = 0
    first_seq: int = 1


class RetentionSweep:
    """Looks at conversations. `reload` has the owner of one learn what stands beside its log now."""

    def __init__(
        self,
        store: RetentionStore,
        devices: SignedInDevices,
        policy: RetentionPolicy,
        clock: Clock,
        invalidate: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._devices = devices
        self._policy = policy
        self._clock = clock
        self._invalidate = invalidate

    async def sweep(self, due: DueConversation) -> SweepResult | None:
        """Remove what may go, and set when to look again; None if somebody else looks. Raises Failure."""
        held = await self._store.claim(due, self._clock.now_ms() + CLAIM_MS)
        if held is None:
            return None
        removed, finished = SweepResult(first_seq=held.conversation.first_seq), False
        for _ in range(MAX_BATCHES):
            if held.removed_seq < held.conversation.first_seq - 1:
                held = await self._remove_content(held, removed)
            elif (last := await self._last_expired(held.conversation)) is not None:
                await self._store.raise_first_seq(due.conversation_id, last)
                held = replace(held, conversation=replace(held.conversation, first_seq=last.seq + 1))
            else:
                finished = True
                break
        removed.first_seq = held.conversation.first_seq
        await self._finish(held, removed, finished)
        return removed

    async def _remove_content(self, held: ClaimedConversation, removed: SweepResult) -> ClaimedConversation:
        conversation_id, first = held.conversation.conversation_id, held.removed_seq + 1
        last = min(held.removed_seq + BATCH_ENTRIES, held.conversation.first_seq - 1)
        # Before content goes: what is decided from now on concerns only what stays.
        await self._invalidate(conversation_id)
        await self._store.remove_content(conversation_id, first, last)
        removed.contents += last - first + 1
        return replace(held, removed_seq=last)

    async def _last_expired(self, conversation: Conversation) -> EntryPosition | None:
        """The last of the next entries that may go; None if not even the first may."""
        rule = self._policy.effective_for(conversation.retention)
        if rule.rule is RetentionRule.FOREVER:
            return None
        places = await self._store.list_positions(conversation.conversation_id, conversation.first_seq, BATCH_ENTRIES)
        unapplied = await self._store.first_unapplied_seq(conversation.conversation_id, conversation.applied_seq)
        places = [each for each in places if unapplied is None or each.seq < unapplied]
        count = self._count_aged(places, rule)
        if rule.rule is RetentionRule.RELAY_ONLY and count < len(places):
            count = max(count, await self._count_delivered(conversation, places))
        return places[count - 1] if count else None

    def _count_aged(self, places: Sequence[EntryPosition], rule: Retention) -> int:
        born_ms = self._clock.now_ms() - _age_ms(rule)
        return sum(1 for _ in takewhile(lambda each: each.time_ms <= born_ms, places))

    async def _count_delivered(self, conversation: Conversation, places: Sequence[EntryPosition]) -> int:
        devices = await self._devices.load_signed_in(conversation.members)
        marks = await self._store.load_device_marks(conversation.conversation_id)
        if signed_out := marks.keys() - {device for each in devices.values() for device in each}:
            await self._store.remove_device_marks(conversation.conversation_id, signed_out)
        return count_delivered_to_all(places, conversation.members, devices, marks)

    async def _finish(self, held: ClaimedConversation, removed: SweepResult, finished: bool) -> None:
        conversation, now_ms = held.conversation, self._clock.now_ms()
        kept_from = min(conversation.first_seq, held.removed_seq + 1)
        stubs = await self._store.remove_stubs(
            conversation.conversation_id, kept_from, now_ms - STUB_KEPT_MS, BATCH_ENTRIES * MAX_BATCHES
        )
        removed.stubs = stubs.removed
        times = [] if stubs.next_ms is None else [stubs.next_ms + STUB_KEPT_MS]
        if (next_ms := await self._next_due_ms(conversation)) is not None:
            times.append(next_ms)
        own = conversation.retention.rule is not RetentionRule.DEFAULT
        default = None if own else self._policy.default
        await self._store.release(held, min(times, default=None) if finished else now_ms, default)

    async def _next_due_ms(self, conversation: Conversation) -> int | None:
        """When something may go next, if nothing is heard of devices."""
        rule = self._policy.effective_for(conversation.retention)
        if rule.rule is RetentionRule.FOREVER:
            return None
        kept = await self._store.list_positions(conversation.conversation_id, conversation.first_seq, 1)
        now_ms = self._clock.now_ms()
        if not kept:
            return now_ms + _age_ms(rule)
        # What is over already could not go: it waits for what it did to be applied.
        next_ms = max(kept[0].time_ms + _age_ms(rule), now_ms + round(self._policy.sweep_interval_s * 1000))
        return min(next_ms, now_ms + SIGN_OUT_CHECK_MS) if rule.rule is RetentionRule.RELAY_ONLY else next_ms


def _age_ms(rule: Retention) -> int:
    return MAX_RELAY_MS if rule.rule is RetentionRule.RELAY_ONLY else rule.max_age_s * 1000


def count_delivered_to_all(
    positions: Sequence[EntryPosition],
    members: Mapping[str, ConversationMember],
    devices: Mapping[str, Mapping[str, int]],
    marks: Mapping[str, int],
) -> int:
    """How many of the first `places` no device of a member lacks.

    A device lacks what is above its mark, unless it was signed in only later or its user joined only later. Who is no
    member any more, and what is signed out, lacks nothing. `devices` tells since when a user's are signed in.
    """
    seqs, times = [each.seq for each in positions], [each.time_ms for each in positions]
    had = len(positions)
    for user, member in members.items():
        for device, since_ms in devices.get(user, {}).items():
            new_to_it = bisect_right(seqs, max(marks.get(device, 0), member.joined_seq - 1))
            had = min(had, max(new_to_it, bisect_left(times, since_ms)))
    return had
