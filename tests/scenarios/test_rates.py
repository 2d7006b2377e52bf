"""Rate limits: a temporarily refused send is never overtaken by a later send of its conversation."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import grpc
import pytest

from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.raw.device import new_id
from tests.raw.refusal import of_error, of_status
from tests.raw.world import World
from tests.scenarios.conftest import Scene

pytestmark = pytest.mark.scenario

BURST, PER_SECOND = 60, 20
# So many more are refused in part wherever they all come within nine seconds; no lane has room for many more.
BEYOND = 180
# Where what was refused is sent again, which takes its time: wherever they come within two seconds.
FEW_BEYOND = 40
CALLS_BURST = 200
RATE_LIMITED = ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
EARLIER_REFUSED = ("UNAVAILABLE", "EARLIER_SEND_REFUSED")


async def flood(scene: Scene, beyond: int = BEYOND) -> tuple[list[str], list[str]]:
    """Send a burst beyond the limit; return the accepted and the refused ids."""
    keys = [await scene.alice.send(scene.conversation, str(number)) for number in range(BURST + beyond)]
    appended = [(await scene.alice.next_result(key)).HasField("appended") for key in keys]
    taken = appended.count(True)
    assert all(appended[:taken]), "none is taken after one was refused"
    assert taken < len(keys), "all were taken"
    return keys[:taken], keys[taken:]


async def test_sends_beyond_burst_are_refused_temporarily(scene: Scene) -> None:
    began = time.monotonic()
    taken, _ = await flood(scene)
    refilled = PER_SECOND * (time.monotonic() - began)
    assert BURST <= len(taken) <= BURST + refilled


async def test_first_refusal_has_retry_delay_and_gate_refuses_the_rest(scene: Scene) -> None:
    keys = [await scene.alice.send(scene.conversation, str(number)) for number in range(BURST + BEYOND)]
    answers = [await scene.alice.next_result(key) for key in keys]
    first, *others = [of_status(each.refused) for each in answers if each.HasField("refused")]
    assert first.code_and_reason == RATE_LIMITED
    assert first.retry_after is not None
    assert 0 < first.retry_after <= 1
    assert {other.code_and_reason for other in others} == {EARLIER_REFUSED}
    assert all(other.retry_after is not None and other.retry_after > 0 for other in others)


async def test_gate_opens_only_for_refused_send(scene: Scene) -> None:
    alice, conversation = scene.alice, scene.conversation
    taken, refused = await flood(scene, FEW_BEYOND)
    numbered = list(enumerate(refused, start=len(taken)))
    for number, key in numbered[1:]:
        assert (
            await alice.refused(conversation, str(number), client_message_id=key)
        ).code_and_reason == EARLIER_REFUSED
    for number, key in numbered:
        await eventually(partial(send_with_retries, scene, conversation, str(number), key))
    fetched = await alice.fetch(conversation, limit=500)
    bodies = [each.message_appended.content.text.body for each in fetched.entries[1:]]
    assert bodies == [str(number) for number in range(BURST + FEW_BEYOND)]


async def test_gate_does_not_apply_to_other_conversations(scene: Scene) -> None:
    other = await scene.alice.direct(await scene.world.user("erin"))
    await flood(scene)
    # Once this one passes the rate has room again, and the gate of the first conversation is still closed.
    await eventually(partial(send_with_retries, scene, other, "hello", new_id()))
    assert (await scene.alice.refused(scene.conversation, "later")).code_and_reason == EARLIER_REFUSED


async def send_with_retries(scene: Scene, conversation: str, body: str, key: str) -> bool:
    answer = await scene.alice.next_result(await scene.alice.send(conversation, body, client_message_id=key))
    assert answer.HasField("appended") or of_status(answer.refused).code_and_reason == RATE_LIMITED
    return answer.HasField("appended")


async def test_each_device_has_its_own_rate_limit(scene: Scene) -> None:
    tablet = await scene.world.add_device(scene.alice)
    await tablet.connect()
    await flood(scene)
    await tablet.sent(scene.conversation, "from the tablet")


async def test_invalid_send_closes_no_gate(scene: Scene) -> None:
    assert (await scene.alice.refused(scene.conversation, "")).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert await scene.alice.sent(scene.conversation, "hello") == 2


async def test_conversation_rate_limit_is_shared_by_members(scene: Scene) -> None:
    alice, world = scene.alice, scene.world
    friends = [await world.user(name) for name in ("erin", "frank")]
    conversation = await alice.group("busy", [scene.bob, *friends])
    for friend in friends:
        await friend.connect()
    sends = [(each, await each.send(conversation, "!")) for _ in range(BURST) for each in (alice, *friends)]
    answers = [await each.next_result(key) for each, key in sends]
    refused = {of_status(each.refused).code_and_reason for each in answers if each.HasField("refused")}
    assert refused == {("RESOURCE_EXHAUSTED", "CONVERSATION_BUSY"), EARLIER_REFUSED}


async def test_call_rate_limit_applies_per_device(world: World) -> None:
    alice, server = await world.user("alice"), world.servers[0]
    laptop = await world.add_device(alice)

    async def outcome() -> tuple[str, str] | None:
        try:
            await alice.call(chat_pb2.ListChangesRequest(), at=server)
        except grpc.aio.AioRpcError as error:
            return of_error(error).code_and_reason
        return None

    outcomes = await asyncio.gather(*(outcome() for _ in range(CALLS_BURST + 300)))
    assert set(outcomes) == {None, RATE_LIMITED}
    assert outcomes.count(None) >= CALLS_BURST
    await laptop.call(chat_pb2.ListChangesRequest(), at=server)
