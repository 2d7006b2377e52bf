"""The withdrawal of notifications that were read elsewhere, or whose messages were deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from notify_service.delivery.decider import Decider
from notify_service.delivery.failed_pushes import FailedPushes
from notify_service.delivery.sender import PushSender, SendResult
from notify_service.model.composition import compose_badge, compose_withdrawal
from notify_service.model.decision import NO_MEMBER
from notify_service.model.events import QueuedEntries, QueuedRead
from notify_service.model.ports import Directory, PushedEntryStore
from notify_service.model.push import Push, Withdrawal
from notify_service.model.registration import Registration
from servicekit.tasks import gather_limited

# Devices of one user that are sent to at a time.
MAX_CONCURRENT_SENDS: Final = 16


class Withdrawals:
    """Withdraws what was pushed to a user and read or deleted; a user who has read a part gets the new badge."""

    def __init__(
        self, decider: Decider, directory: Directory, pushed_entries: PushedEntryStore, sender: PushSender
    ) -> None:
        self._decider = decider
        self._directory = directory
        self._pushed_entries = pushed_entries
        self._sender = sender

    async def withdraw(self, event: QueuedRead, failed: FailedPushes) -> None:
        """Withdraw what the event says was read. Raise StoreUnavailable, ServiceUnavailable."""
        pushed_seq = await self._pushed_entries.begin_withdrawal(event.user_id, event.conversation_id, event.read_seq)
        if not pushed_seq:
            return
        is_all_read = pushed_seq <= event.read_seq
        registrations = await self._decider.find_registrations(event.user_id)
        await self._send_badge(event, registrations, compose_withdrawal if is_all_read else compose_badge, failed)
        if is_all_read:
            await self._pushed_entries.end_withdrawal(event.user_id, event.conversation_id, pushed_seq)

    async def withdraw_deleted(self, event: QueuedEntries, failed: FailedPushes) -> None:
        """Withdraw the notifications of messages that the entries of the event delete. Raise as `withdraw`."""
        for seq in event.deleted_seqs:
            for user_id in await self._pushed_entries.withdraw_deleted(event.conversation_id, event.user_ids, seq):
                read = QueuedRead(user_id, event.conversation_id, seq, event.queued_ms)
                registrations = await self._decider.find_registrations(user_id)
                await self._send_badge(read, registrations, compose_withdrawal, failed)

    async def withdraw_again(self, event: QueuedRead, device_id: str, failed: FailedPushes) -> None:
        """Repeat a withdrawal at one device unless something newer was pushed. Raise as `withdraw`."""
        pushed_seqs = await self._pushed_entries.find(event.conversation_id, [event.user_id])
        if pushed_seqs[event.user_id] > event.read_seq:
            return
        registrations = await self._decider.find_registrations(event.user_id)
        chosen = [each for each in registrations if each.device_id == device_id]
        await self._send_badge(event, chosen, compose_withdrawal, failed)

    async def withdraw_overtaken(self, conversation_id: str, pushed: Mapping[str, int], failed: FailedPushes) -> None:
        """Withdraw entries, by user, that were read or deleted while they were pushed.

        Their withdrawal may have come first. Raise as `withdraw`.
        """
        for user_id, pushed_seq in (await self._pushed_entries.find(conversation_id, pushed)).items():
            if not pushed_seq:
                await self._withdraw_overtaken(user_id, conversation_id, pushed[user_id], failed)

    async def _withdraw_overtaken(self, user_id: str, conversation_id: str, seq: int, failed: FailedPushes) -> None:
        context = await self._directory.describe(conversation_id, user_id, [user_id], (), message_seqs=[seq])
        state = context.recipients.get(user_id, NO_MEMBER)
        if state.is_member and state.read_seq < seq and seq not in context.deleted_seqs:
            # Redis lost what was pushed; it is still to be shown.
            return
        event = QueuedRead(user_id, conversation_id, seq, failed.now_ms)
        push = compose_withdrawal(conversation_id, seq, state.badge)
        await self._send(event, await self._decider.find_registrations(user_id), push, failed)

    async def _send_badge(
        self,
        event: QueuedRead,
        registrations: Sequence[Registration],
        composer: Callable[[str, int, int], Withdrawal],
        failed: FailedPushes,
    ) -> None:
        """Send these devices what `composer` makes of conversation, seq and present badge; nothing without a device."""
        if not registrations:
            return
        context = await self._directory.describe(event.conversation_id, event.user_id, [event.user_id], ())
        badge = context.recipients.get(event.user_id, NO_MEMBER).badge
        await self._send(event, registrations, composer(event.conversation_id, event.read_seq, badge), failed)

    async def _send(
        self, event: QueuedRead, registrations: Sequence[Registration], push: Push, failed: FailedPushes
    ) -> None:
        async def send(registration: Registration) -> SendResult:
            return await self._sender.send(registration, push, 0)

        results = await gather_limited(send, registrations, limit=MAX_CONCURRENT_SENDS)
        for registration, result in zip(registrations, results, strict=True):
            failed.add(event, registration, result)
