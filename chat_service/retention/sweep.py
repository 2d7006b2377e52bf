"""The sweep of one conversation: it removes what has expired, in bounded batches that can be repeated.

A sweep removes a prefix of the log, in this order: it raises `first_seq`, invalidates the owner's cached state, and
removes content. The entry stays as a stub, because it answers retries, and is removed after 31 days. A sweep that
starts after a crash reads from the store how far the last one got. It also releases the files of replaced pictures.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Final

from chat_service.model.conversation import Conversation, ConversationKind, ConversationMember
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
# Relay-only content that a device has not received is removed at this age.
MAX_RELAY_MS: Final = 30 * DAY_MS
# A retry is accepted for 30 days after its id was made, and that time may be some minutes ahead of the entry's.
STUB_KEPT_MS: Final = 31 * DAY_MS
# A sign-out does not change the due times of conversations that wait for the device, so check at this interval.
SIGN_OUT_CHECK_MS: Final = DAY_MS // 4
# Longer than a sweep takes. After a crash the conversation can be claimed again once the claim has expired.
CLAIM_MS: Final = 10 * 60 * 1000
BATCH_ENTRIES: Final = 500
MAX_BATCHES: Final = 20


@dataclass(slots=True)
class SweepResult:
    """The number of contents and of stubs that a sweep removed, and the first seq whose content is kept."""

    contents: int = 0
    stubs: int = 0
    first_seq: int = 1


class RetentionSweep:
    """Sweeps conversations.

    `invalidate` makes the owner of a conversation reload its state from the stores, and `touch` records for users, by
    conversation, that it changed.
    """

    def __init__(
        self,
        store: RetentionStore,
        devices: SignedInDevices,
        policy: RetentionPolicy,
        clock: Clock,
        invalidate: Callable[[str], Awaitable[None]],
        touch: Callable[[Mapping[str, Collection[str]]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._devices = devices
        self._policy = policy
        self._clock = clock
        self._invalidate = invalidate
        self._touch = touch

    async def sweep(self, due: DueConversation) -> SweepResult | None:
        """Remove what has expired and set the next due time; return None if the claim failed. Raises Failure."""
        claimed = await self._store.claim(due, self._clock.now_ms() + CLAIM_MS)
        if claimed is None:
            return None
        result, finished = SweepResult(), False
        for _ in range(MAX_BATCHES):
            if claimed.removed_seq < claimed.conversation.first_seq - 1:
                # Touch before the removal is recorded: after a crash the next sweep touches again.
                await self._touch_readers(claimed.conversation)
                claimed = await self._remove_content(claimed, result)
            elif (last := await self._last_expired(claimed.conversation)) is not None:
                rule = self._policy.effective_for(claimed.conversation.retention).rule
                # Relay-only retention removes content from the server only: the devices keep it.
                await self._store.raise_first_seq(due.conversation_id, last, expired=rule is RetentionRule.MAX_AGE)
                claimed = replace(claimed, conversation=replace(claimed.conversation, first_seq=last.seq + 1))
            else:
                finished = True
                break
        result.first_seq = claimed.conversation.first_seq
        if claimed.conversation.kind is ConversationKind.GROUP:
            await self._release_pictures(claimed.conversation)
        await self._finish(claimed, result, finished)
        return result

    async def _touch_readers(self, conversation: Conversation) -> None:
        """Touch for all who may see the content: their devices learn `expired_seq` when they resume."""
        readers = conversation.members.keys() | conversation.past_memberships.keys()
        await self._touch({conversation.conversation_id: readers})

    async def _remove_content(self, claimed: ClaimedConversation, result: SweepResult) -> ClaimedConversation:
        conversation_id, first = claimed.conversation.conversation_id, claimed.removed_seq + 1
        last = min(claimed.removed_seq + BATCH_ENTRIES, claimed.conversation.first_seq - 1)
        # Invalidate before content is removed: from then on the owner refuses changes of messages that will be gone.
        await self._invalidate(conversation_id)
        await self._store.remove_content(conversation_id, first, last)
        result.contents += last - first + 1
        return replace(claimed, removed_seq=last)

    async def _release_pictures(self, conversation: Conversation) -> None:
        """Release the earlier pictures that no former member is shown: one is shown the group as of the departure."""
        conversation_id, members = conversation.conversation_id, conversation.members
        changes = await self._store.list_picture_changes(conversation_id, conversation.applied_seq)
        left = [past[-1].interval.last for user, past in conversation.past_memberships.items() if user not in members]
        unseen = [
            each.seq
            for each, replacement in pairwise(changes)
            if each.referenced and not any(each.seq <= last < replacement.seq for last in left)
        ]
        if unseen:
            await self._store.release_pictures(conversation_id, unseen)

    async def _last_expired(self, conversation: Conversation) -> EntryPosition | None:
        """Return the last expired entry of the next batch; None if the first one has not expired."""
        rule = self._policy.effective_for(conversation.retention)
        if rule.rule is RetentionRule.FOREVER:
            return None
        positions = await self._store.list_positions(
            conversation.conversation_id, conversation.first_seq, BATCH_ENTRIES
        )
        unapplied = await self._store.first_unapplied_seq(conversation.conversation_id, conversation.applied_seq)
        positions = [each for each in positions if unapplied is None or each.seq < unapplied]
        count = self._count_aged(positions, rule)
        if rule.rule is RetentionRule.RELAY_ONLY and count < len(positions):
            count = max(count, await self._count_delivered(conversation, positions))
        return positions[count - 1] if count else None

    def _count_aged(self, positions: Sequence[EntryPosition], rule: Retention) -> int:
        expired_ms = self._clock.now_ms() - _max_age_ms(rule)
        return sum(1 for _ in takewhile(lambda each: each.time_ms <= expired_ms, positions))

    async def _count_delivered(self, conversation: Conversation, positions: Sequence[EntryPosition]) -> int:
        devices = await self._devices.load_signed_in(conversation.members)
        marks = await self._store.load_device_marks(conversation.conversation_id)
        if signed_out := marks.keys() - {device for each in devices.values() for device in each}:
            await self._store.remove_device_marks(conversation.conversation_id, signed_out)
        return count_delivered_to_all(positions, conversation.members, devices, marks)

    async def _finish(self, claimed: ClaimedConversation, result: SweepResult, finished: bool) -> None:
        """Remove stubs and release the claim; an unfinished conversation is due again at once."""
        conversation, now_ms = claimed.conversation, self._clock.now_ms()
        below_seq = min(conversation.first_seq, claimed.removed_seq + 1)
        stubs = await self._store.remove_stubs(
            conversation.conversation_id, below_seq, now_ms - STUB_KEPT_MS, BATCH_ENTRIES * MAX_BATCHES
        )
        result.stubs = stubs.removed
        due_times = [] if stubs.next_ms is None else [stubs.next_ms + STUB_KEPT_MS]
        if (next_ms := await self._next_expiry_ms(conversation)) is not None:
            due_times.append(next_ms)
        own_rule = conversation.retention.rule is not RetentionRule.DEFAULT
        default = None if own_rule else self._policy.default
        await self._store.release(claimed, min(due_times, default=None) if finished else now_ms, default)

    async def _next_expiry_ms(self, conversation: Conversation) -> int | None:
        """Return the time at which content may expire next if no device acknowledges more; None for never."""
        rule = self._policy.effective_for(conversation.retention)
        if rule.rule is RetentionRule.FOREVER:
            return None
        lowest = await self._store.list_positions(conversation.conversation_id, conversation.first_seq, 1)
        now_ms = self._clock.now_ms()
        if not lowest:
            return now_ms + _max_age_ms(rule)
        # An expired entry is kept while it, or an earlier one, is not applied: try again after the interval.
        next_ms = max(lowest[0].time_ms + _max_age_ms(rule), now_ms + round(self._policy.sweep_interval_s * 1000))
        return min(next_ms, now_ms + SIGN_OUT_CHECK_MS) if rule.rule is RetentionRule.RELAY_ONLY else next_ms


def _max_age_ms(rule: Retention) -> int:
    return MAX_RELAY_MS if rule.rule is RetentionRule.RELAY_ONLY else rule.max_age_s * 1000


def count_delivered_to_all(
    positions: Sequence[EntryPosition],
    members: Mapping[str, ConversationMember],
    devices: Mapping[str, Mapping[str, int]],
    marks: Mapping[str, int],
) -> int:
    """Return the number of leading `positions` that every member's devices have received or never will.

    A device still has to receive the entries above its mark, except those from before its sign-in and those from before
    its user joined. Former members and signed-out devices do not count. `devices` holds the sign-in times of the
    signed-in devices, in milliseconds since 1970, by user and device.
    """
    seqs, times = [each.seq for each in positions], [each.time_ms for each in positions]
    delivered = len(positions)
    for user, member in members.items():
        for device, signed_in_ms in devices.get(user, {}).items():
            up_to_mark = bisect_right(seqs, max(marks.get(device, 0), member.joined_seq - 1))
            delivered = min(delivered, max(up_to_mark, bisect_left(times, signed_in_ms)))
    return delivered
