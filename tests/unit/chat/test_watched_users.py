"""A device is told the presence of all its users once, then each change, also after its outbox was full."""

from __future__ import annotations

import asyncio

import pytest

from chat_service.model.ids import direct_id
from chat_service.stream.watched_users import WatchedUsers
from chat_service.wire import frames
from chat_service.wire.presence import EncodedPresence, encode_presence
from parley.chat.v1 import chat_pb2, entry_pb2
from parley.presence.v1.presence_pb2 import Presence, PresenceState
from servicekit.errors import SessionSuperseded
from servicekit.outbox import Outbox
from tests.eventually import run_ready

OUTBOX_BYTES = 500
ALICE, BOB, CAROL, ME = ("a" * 32, "b" * 32, "c" * 32, "e" * 32)
ONLINE, BACKGROUND, OFFLINE = (
    PresenceState.PRESENCE_STATE_ONLINE,
    PresenceState.PRESENCE_STATE_BACKGROUND,
    PresenceState.PRESENCE_STATE_OFFLINE,
)


def of(user_id: str, state: PresenceState.ValueType) -> EncodedPresence:
    return encode_presence(Presence(user_id=user_id, state=state))


class Device:
    """A device that watches alice and bob."""

    def __init__(self) -> None:
        self.outbox = Outbox(OUTBOX_BYTES, frames.join_elements)
        self.first_words: list[str] = []
        self.watched = WatchedUsers(ME, self.outbox)
        self.watched.replace([ALICE, BOB], self.first_words.append)

    async def told(self) -> list[tuple[str, PresenceState.ValueType]]:
        """Return the presence in the next frame."""
        frame = await self.outbox.dequeue()
        assert frame is not None
        return [(each.user_id, each.state) for each in chat_pb2.ConnectResponse.FromString(frame).presence.users]


async def test_answer_has_all_watched_users_in_order() -> None:
    device = Device()
    device.watched.update([of(BOB, ONLINE)])
    device.watched.update([of(ALICE, OFFLINE)])
    assert await device.told() == [(ALICE, OFFLINE), (BOB, ONLINE)]
    assert device.watched.user_ids == [ALICE, BOB]


async def test_changes_are_told_once_and_together() -> None:
    device = Device()
    device.watched.update([of(ALICE, ONLINE), of(BOB, ONLINE)])
    await device.told()
    for presence in (of(ALICE, ONLINE), of(ALICE, BACKGROUND), of(CAROL, ONLINE), of(BOB, OFFLINE)):
        device.watched.update([presence])
    assert await device.told() == [(ALICE, BACKGROUND), (BOB, OFFLINE)]
    device.watched.update([of(BOB, ONLINE)])
    assert await device.told() == [(BOB, ONLINE)]


async def test_slow_device_is_told_the_newest_once_it_reads() -> None:
    device = Device()
    device.watched.update([of(ALICE, ONLINE), of(BOB, ONLINE)])
    await device.told()
    device.outbox.put_frame(b"\0" * (OUTBOX_BYTES + 1))
    for state in (BACKGROUND, OFFLINE, BACKGROUND):
        device.watched.update([of(ALICE, state)])
    await device.outbox.dequeue()
    device.watched.flush()
    assert await device.told() == [(ALICE, BACKGROUND)]


async def test_call_is_answered_without_a_frame() -> None:
    device = Device()
    device.watched.replace([BOB], device.first_words.append, tells_answer=False)
    device.watched.update([of(BOB, BACKGROUND)])
    answer = await device.watched.wait_answered(1.0)
    assert [(each.user_id, each.state, each.online) for each in answer.users] == [(BOB, BACKGROUND, False)]
    device.watched.update([of(BOB, ONLINE)])
    assert await device.told() == [(BOB, ONLINE)]


def written(author: str, conversation_id: str = "") -> bytes:
    return entry_pb2.Entry(
        conversation_id=conversation_id or direct_id(ME, author), actor_id=author
    ).SerializeToString()


async def test_first_word_of_a_user_who_shows_nothing_is_reported_once() -> None:
    device = Device()
    device.watched.update([of(ALICE, OFFLINE), of(BOB, ONLINE)])
    for author in (BOB, CAROL, ALICE, ALICE):
        device.watched.note_entry(written(author), author)
    assert device.first_words == [ALICE]
    # What was told of them is forgotten with the watch.
    device.watched.replace([ALICE], device.first_words.append)
    device.watched.update([of(ALICE, OFFLINE)])
    device.watched.note_entry(written(ALICE), ALICE)
    assert device.first_words == [ALICE, ALICE]


async def test_word_in_a_group_is_no_first_word() -> None:
    device = Device()
    device.watched.update([of(ALICE, OFFLINE), of(BOB, ONLINE)])
    device.watched.note_entry(written(ALICE, "9" * 32), ALICE)
    assert device.first_words == []
    device.watched.note_entry(written(ALICE), ALICE)
    assert device.first_words == [ALICE]


async def test_word_before_the_answer_is_reported_with_it() -> None:
    device = Device()
    device.watched.note_entry(written(ALICE), ALICE)
    device.watched.note_entry(written(BOB), BOB)
    assert device.first_words == []
    device.watched.update([of(ALICE, OFFLINE), of(BOB, ONLINE)])
    assert device.first_words == [ALICE]


async def test_call_that_is_replaced_is_refused() -> None:
    device = Device()
    device.watched.replace([ALICE], device.first_words.append, tells_answer=False)
    waiting = asyncio.create_task(device.watched.wait_answered(5.0))
    await run_ready()
    device.watched.replace([BOB], device.first_words.append)
    with pytest.raises(SessionSuperseded):
        await waiting


async def test_answer_after_the_time_of_the_call_goes_to_the_stream() -> None:
    device = Device()
    device.watched.replace([BOB], device.first_words.append, tells_answer=False)
    with pytest.raises(TimeoutError):
        await device.watched.wait_answered(0.01)
    device.watched.update([of(BOB, ONLINE)])
    assert await device.told() == [(BOB, ONLINE)]


async def test_watch_of_nobody_is_answered_at_once() -> None:
    device = Device()
    device.watched.replace([], device.first_words.append)
    assert await device.told() == []
    assert await device.watched.wait_answered(1.0) == chat_pb2.Presence()


async def test_presence_of_an_earlier_watch_is_not_told() -> None:
    device = Device()
    device.watched.update([of(ALICE, ONLINE), of(BOB, ONLINE)])
    await device.told()
    device.watched.replace([CAROL], device.first_words.append)
    device.watched.update([of(BOB, OFFLINE)])
    device.watched.update([of(CAROL, OFFLINE)])
    assert await device.told() == [(CAROL, OFFLINE)]


async def test_answer_reaches_a_full_outbox() -> None:
    device = Device()
    device.outbox.put_frame(b"\0" * (OUTBOX_BYTES + 1))
    device.watched.update([of(ALICE, ONLINE), of(BOB, ONLINE)])
    await device.outbox.dequeue()
    assert await device.told() == [(ALICE, ONLINE), (BOB, ONLINE)]
