"""Typing is told rarely, and nobody types for ever."""

from parley_client.events import TypingChanged
from parley_client.keystrokes import Keystrokes
from parley_client.typists import Typists
from tests.eventually import eventually
from tests.unit.client.conftest import Cast, until
from tests.unit.client.stage import Stage

HERE, THERE, YOU = "c" * 32, "d" * 32, "b" * 32


def test_the_others_are_told_at_most_every_3_seconds() -> None:
    keys = Keystrokes()
    assert [keys.typed(HERE, now) for now in (0.0, 1.0, 2.9, 3.0, 4.0)] == [True, False, False, True, False]
    assert keys.typed(THERE, 4.0)
    assert keys.stopped(HERE, 5.0)
    assert not keys.stopped(HERE, 5.0)
    assert not keys.stopped(THERE, 10.0), "they have stopped believing it"
    assert keys.typed(HERE, 10.0)
    keys.sent(HERE)
    assert keys.typed(HERE, 10.5)


def test_who_is_not_heard_of_types_no_more() -> None:
    typists = Typists()
    assert typists.heard(HERE, YOU, True, 0.0) == TypingChanged(HERE, YOU, True)
    assert typists.heard(HERE, YOU, True, 3.0) is None
    assert typists.expired(8.9) == []
    assert typists.expired(9.0) == [TypingChanged(HERE, YOU, False)]
    assert typists.heard(HERE, YOU, False, 9.0) is None


async def test_a_message_ends_the_typing(cast: Cast, stage: Stage) -> None:
    alice, bob = await cast.client("alice"), await cast.client("bob")
    peer = (await alice.accounts.find("bob")).user_id
    chat = (await alice.conversations.get_or_create_direct(peer)).conversation_id
    alices, bobs = await cast.device(alice), await cast.device(bob)
    for _ in range(5):
        alices.typing(chat)
    assert (await until(bobs, TypingChanged)).typing
    await alices.send(chat, "said")
    assert not (await until(bobs, TypingChanged)).typing
    assert sum(frame.HasField("typing") for frame in stage.received) == 1
    alices.typing(chat)
    await eventually(lambda: sum(frame.HasField("typing") for frame in stage.received) == 2)
