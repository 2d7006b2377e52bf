"""The client of the directory of chat."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from notify_service.model.decision import ConversationContext, PushDecision, PushOutcome, RecipientState
from parley.internal.v1 import directory_pb2
from parley.internal.v1.directory_pb2_grpc import DirectoryServiceStub
from servicekit.client import ServiceChannel

# A chat server waits for its store for this long.
DIRECTORY_TIMEOUT_S: Final = 12.0
# That of a call whose answer a user waits for, and that can be left out.
FOREGROUND_TIMEOUT_S: Final = 2.0
# The most users of one DescribeConversation.
USERS_PER_CALL: Final = 1000
# The most devices of one CheckDevices. A user may have tokens of many more that were signed out.
DEVICES_PER_CALL: Final = 100
# A queue that has grown long is described at the pace of chat: more calls at a time would only wait there, and time
# out.
MAX_CONCURRENT_DESCRIPTIONS: Final = 32


class DirectoryClient:
    """Implements Directory by calls to chat servers."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._stub = channel.stub(DirectoryServiceStub)
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_DESCRIPTIONS)

    async def describe(
        self,
        conversation_id: str,
        author_id: str,
        user_ids: Collection[str],
        target_seqs: Collection[int],
        newest_seq: int = 0,
        message_seqs: Collection[int] = (),
    ) -> ConversationContext:
        """See Directory."""
        ids, seqs = list(user_ids), list(target_seqs)
        recipients = dict[str, RecipientState]()
        described = directory_pb2.DescribeConversationResponse()
        for start in range(0, len(ids), USERS_PER_CALL):
            request = directory_pb2.DescribeConversationRequest(
                conversation_id=conversation_id,
                sender_id=author_id,
                recipient_ids=ids[start : start + USERS_PER_CALL],
                target_seqs=seqs,
                newest_seq=newest_seq,
                message_seqs=message_seqs,
            )
            async with self._slots:
                described = await self._stub.DescribeConversation(request, timeout=DIRECTORY_TIMEOUT_S)
            recipients |= {each.user_id: _decode_recipient(each) for each in described.recipients}
        return ConversationContext(
            is_group=described.form == directory_pb2.CONVERSATION_FORM_GROUP,
            title=described.title,
            author_name=described.sender_name,
            recipients=recipients,
            authors=dict(zip(seqs, described.target_author_ids, strict=True)) if seqs else {},
            deleted_seqs=frozenset(described.deleted_seqs),
        )

    async def find_unpushed(self, user_id: str) -> PushDecision | None:
        """See Directory."""
        request = directory_pb2.DescribeForegroundRequest(user_id=user_id)
        found = await self._stub.DescribeForeground(request, timeout=FOREGROUND_TIMEOUT_S)
        if not found.HasField("last_entry"):
            return None
        entry = found.last_entry
        time_ms, device_id = entry.deliver_time.ToMilliseconds(), next(iter(found.device_ids), "")
        return PushDecision(time_ms, entry.conversation_id, entry.seq, PushOutcome.IN_FOREGROUND, device_id)

    async def filter_signed_in(self, user_id: str, device_ids: Collection[str]) -> set[str]:
        """See Directory."""
        ids, signed_in = list(device_ids), set[str]()
        for start in range(0, len(ids), DEVICES_PER_CALL):
            request = directory_pb2.CheckDevicesRequest(
                user_id=user_id, device_ids=ids[start : start + DEVICES_PER_CALL]
            )
            response = await self._stub.CheckDevices(request, timeout=DIRECTORY_TIMEOUT_S)
            signed_in |= set(response.active_device_ids)
        return signed_in

    async def is_signed_in(self, user_id: str, device_id: str) -> bool:
        """Return whether a device of a user is signed in."""
        return device_id in await self.filter_signed_in(user_id, [device_id])


def _decode_recipient(recipient: directory_pb2.Recipient) -> RecipientState:
    return RecipientState(
        is_member=recipient.member,
        is_muted=recipient.HasField("mute_end_time"),
        blocks_author=recipient.blocks_sender,
        read_seq=recipient.read_seq,
        badge=recipient.badge_count,
    )
