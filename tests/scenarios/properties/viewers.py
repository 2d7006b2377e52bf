"""A user with two devices of the SDK and the views that they build: one always connected, one now and then."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from parley_client import ConversationView, DeliveryStatus, Device, Message
from parley_client.inbox import Inbox
from parley_client.session import DeviceState
from parley_client.watermarks import ReceiptTracker
from tests.raw.device import RawDevice
from tests.scenarios.sdk.recording_device import RecordingDevice


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as a view shows it. `status` is that of the user's own message, else None."""

    author: str
    text: str
    mentions: tuple[str, ...]
    edited: bool
    deleted: bool
    reactions: tuple[tuple[str, str], ...]
    status: DeliveryStatus | None


class ViewingDevice(RecordingDevice):
    """A device whose events build the views of all conversations; the views outlive its connections."""

    def __init__(self, who: RawDevice, door: str) -> None:
        super().__init__(who, door)
        self.views: dict[str, ConversationView] = {}

    def view(self, conversation: str) -> ConversationView:
        """Return the view of a conversation."""
        if conversation not in self.views:
            self.views[conversation] = ConversationView(conversation, self.who.user_id)
        return self.views[conversation]

    async def _record(self, device: Device) -> None:
        async for event in device:
            if conversation := getattr(event, "conversation_id", ""):
                self.view(conversation).apply(event)


class Viewer:
    """A user; `live` stays connected, `resuming` comes and goes."""

    def __init__(self, live: RawDevice, resuming: RawDevice, door: str) -> None:
        self.user_id = live.user_id
        self.live = ViewingDevice(live, door)
        self.resuming = ViewingDevice(resuming, door)

    async def open(self) -> None:
        await asyncio.gather(self.live.connect(), self.resuming.connect())

    async def close(self) -> None:
        await asyncio.gather(self.live.disconnect(), self.resuming.disconnect())

    async def fresh_view(self, conversation: str) -> ConversationView:
        """Return the view of a device that fetches the conversation for the first time."""
        inbox = Inbox(self.user_id, DeviceState(), ReceiptTracker())
        inbox.range_entries = 40
        view = ConversationView(conversation, self.user_id)
        inbox.catchup.request_fetch(conversation)
        while ranges := inbox.start_due_fetches(time.monotonic()):
            answer = await self.live.client.messages.list_entries(ranges)
            for queued in inbox.handle_entries(answer, time.monotonic()):
                if queued.event is not None:
                    view.apply(queued.event)
        return view


def shown_messages(view: ConversationView) -> dict[int, Shown]:
    """Return the messages of a view by seq."""
    return {each.seq: _shown(view, each) for each in view.messages}


def _shown(view: ConversationView, message: Message) -> Shown:
    mentions = message.content.text.mentions if message.content is not None else ()
    return Shown(
        message.actor_id,
        message.text,
        tuple(each.user_id for each in mentions),
        message.edited,
        message.deleted,
        tuple(sorted(message.reactions.items())),
        view.delivery_status(message) if message.actor_id == view.user_id else None,
    )
