"""A device that sends its messages in order across reconnects, and resends unanswered ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from parley_client import AppendResult, TryLater
from parley_client.stream_protocol import PendingSend
from tests.raw.device import new_id
from tests.scenarios.sdk.judge import Answered, Line
from tests.scenarios.sdk.recording_device import RecordingDevice


class AnswerCounter:
    """A counter of acknowledged sends of all devices, on which tasks can wait."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def increment(self) -> None:
        """Count one acknowledged send."""
        self.count += 1
        for number, event in self._waiting:
            if self.count >= number:
                event.set()

    async def wait_for(self, number: int) -> None:
        """Wait until the count reaches `number`."""
        if self.count < number:
            event = asyncio.Event()
            self._waiting.append((number, event))
            await event.wait()


@dataclass(frozen=True, slots=True)
class _Message:
    number: int
    conversation: str
    text: str
    client_message_id: str


class SendingDevice:
    """`listener` is the device; `lines` what it says, as (conversation, text); `answered` fills as answers come."""

    def __init__(
        self, name: str, listener: RecordingDevice, lines: Iterable[tuple[str, str]], counter: AnswerCounter
    ) -> None:
        self.name = name
        self.listener = listener
        self.answered: list[Answered] = []
        self._counter = counter
        self._waiting = {
            (message_id := new_id()): _Message(number, conversation, text, message_id)
            for number, (conversation, text) in enumerate(lines)
        }
        self._there = asyncio.Event()

    async def connect(self) -> None:
        """Connect."""
        await self.listener.connect()
        self._there.set()

    async def disconnect(self) -> None:
        """Close the device, also with sends in progress."""
        self._there.clear()
        await self.listener.disconnect()

    async def send_all(self) -> None:
        """Submit all sends at once; the SDK keeps order and pace. Return when all are answered."""
        while self._waiting:
            await self._there.wait()
            device = self.listener.device
            sendings = [
                device.send(each.conversation, each.text, client_message_id=each.client_message_id)
                for each in self._waiting.values()
            ]
            for sending in sendings:
                sending.result.add_done_callback(self._record_answer(sending))
            for answer in await asyncio.gather(*(each.result for each in sendings), return_exceptions=True):
                # The device was closed: whether the message was appended is not known.
                if not isinstance(answer, AppendResult | TryLater):
                    raise answer

    def _record_answer(self, sending: PendingSend) -> Callable[[asyncio.Future[AppendResult]], None]:
        def heard(answer: asyncio.Future[AppendResult]) -> None:
            if answer.cancelled() or answer.exception() is not None:
                return
            said = self._waiting.pop(sending.client_message_id)
            line = Line(answer.result().seq, self.listener.who.user_id, said.text)
            self.answered.append(Answered(self.name, said.number, said.conversation, line))
            self._counter.increment()

        return heard
