"""Members send in thirteen languages while their devices reconnect, and every device ends with the same logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from parley.chat.v1 import conversation_pb2
from parley_client import EntryReceived
from tests.eventually import eventually
from tests.raw.world import World
from tests.scenarios.sdk.chatting_members import ABSENCES, HABITS, MESSAGES, ChattingMembers, Connectivity, plan
from tests.scenarios.sdk.corpus import CJK, LANGUAGES, RIGHT_TO_LEFT, SEASONING, language
from tests.scenarios.sdk.judge import Line, Log, differences, disorder, gaps, log_of
from tests.scenarios.sdk.sending_device import SendingDevice

pytestmark = pytest.mark.scenario

SEED = 2024
ARRIVE = 30.0

Logs = Mapping[str, Log]


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_has_utterances(name: str) -> None:
    assert len(language(name)) >= 15


def test_utterances_cover_all_scripts_and_are_reproducible() -> None:
    _, lines = plan(Random(SEED))
    assert plan(Random(SEED))[1] == lines
    said = Counter(text for each in lines for _, text in each)
    assert said.total() == MESSAGES >= 2000
    for name in RIGHT_TO_LEFT + CJK:
        assert sum(said[text] for text in set(language(name))) >= MESSAGES // len(LANGUAGES) // 2
    for what in SEASONING:
        assert any(what in text for text in said)


async def test_reconnecting_devices_receive_identical_logs(world: World, tmp_path: Path) -> None:
    async with ChattingMembers(world, tmp_path, Random(SEED)) as members:
        await members.set_up()
        prefaces = {name: await preface(members, name) for name in members.circles}
        await members.send_all()
        answered = members.answered
        logs = {name: log_of(name, prefaces[name], answered) for name in members.circles}
        with suppress(AssertionError):  # the comparison says better what has not come
            await eventually(lambda: all(has_all(each, own(members, each, logs)) for each in members.speakers), ARRIVE)
        complaints = disorder(answered) + [each for name, log in logs.items() for each in gaps(name, log)]
        for speaker in members.speakers:
            complaints += differences(speaker.name, given(speaker), own(members, speaker, logs))
    assert not complaints, "\n".join(complaints)
    assert len(answered) == MESSAGES
    # What should have made it hard did happen.
    assert members.tally.refused["CONVERSATION_BUSY"]
    assert members.cuts == ABSENCES * HABITS.count(Connectivity.CUT)
    pages = [page for each in members.speakers for page in each.listener.pages.values()]
    assert {event.live for page in pages for event in page} == {True, False}


async def preface(members: ChattingMembers, conversation: str) -> Log:
    """Return the log's entries before the first message, as one member received them."""
    listener = next(
        each.listener for each in members.speakers if each.listener.who.user_id in members.circles[conversation]
    )
    answer = await listener.who.call(conversation_pb2.GetConversationRequest(conversation_id=conversation))
    await listener.wait_for_entries(conversation, answer.conversation.head_seq)
    return given_in(listener.pages[conversation])


def own(members: ChattingMembers, speaker: SendingDevice, logs: Logs) -> Logs:
    user_id = speaker.listener.who.user_id
    return {name: log for name, log in logs.items() if user_id in members.circles[name]}


def has_all(speaker: SendingDevice, logs: Logs) -> bool:
    return all(len(speaker.listener.pages[name]) >= len(log) for name, log in logs.items())


def given(speaker: SendingDevice) -> Logs:
    return {name: given_in(page) for name, page in speaker.listener.pages.items()}


def given_in(page: Sequence[EntryReceived]) -> Log:
    return [Line(event.seq, event.actor_id, event.text) for event in page]
