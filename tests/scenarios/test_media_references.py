"""References to files: the edge claims the file, its facts are stored and delivered, and text never waits for long."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from parley.media.v1 import media_pb2
from servicekit.failure import Failure
from tests.eventually import eventually
from tests.raw.calls import call
from tests.raw.catalog import CatalogServer, serve_catalog
from tests.raw.device import RawDevice, new_id, text
from tests.raw.world import World

pytestmark = pytest.mark.scenario

NOT_FOUND = ("NOT_FOUND", "MEDIA_NOT_FOUND")
UNAVAILABLE = ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
# Twice the time after which the edge gives a claim up, for a loaded machine.
CLAIM_BOUND_S = 6.0
FACTS = {
    "kind": media_pb2.MEDIA_KIND_VIDEO,
    "content_type": "video/mp4",
    "file_name": "Wellen.mp4",
    "size_bytes": 5_000_000_000,
    "width": 1920,
    "height": 1080,
    "duration": Duration(seconds=61, nanos=123_456_789),
    "thumbhash": b"\x01\x02\x03",
    "waveform": b"\x00\xff",
}


@dataclass
class Scenario:
    """Alice and bob in a direct conversation that is owned by another server than alice's edge."""

    world: World
    catalog: CatalogServer
    alice: RawDevice
    bob: RawDevice
    both: str

    async def head(self) -> int:
        """Return the seq of the last entry."""
        request = conversation_pb2.GetConversationRequest(conversation_id=self.both)
        return int((await self.bob.call(request)).conversation.head_seq)


@pytest.fixture
async def scenario(catalog_world: World, catalog: CatalogServer) -> Scenario:
    edge, owner = catalog_world.servers[:2]
    alice, bob = await catalog_world.pair(owner, edge)
    await alice.connect(at=edge)
    await bob.connect(at=catalog_world.servers[2])
    both = await alice.direct(bob)
    assert catalog_world.owner_of(both) == owner
    return Scenario(catalog_world, catalog, alice, bob, both)


def media(media_id: str, **fields: object) -> entry_pb2.Content:
    reference = entry_pb2.MediaReference(media_id=media_id)
    for name, value in fields.items():
        setattr(reference, name, value)
    return entry_pb2.Content(media=reference)


def message(conversation_id: str, content: entry_pb2.Content, request_id: str = "") -> chat_pb2.SendMessageRequest:
    return chat_pb2.SendMessageRequest(
        client_message_id=request_id or new_id(), conversation_id=conversation_id, content=content
    )


def edit(conversation_id: str, seq: int, content: entry_pb2.Content) -> chat_pb2.EditMessageRequest:
    return chat_pb2.EditMessageRequest(
        request_id=new_id(), conversation_id=conversation_id, target_seq=seq, content=content
    )


async def test_facts_are_delivered_live_by_fetch_and_in_lists(scenario: Scenario) -> None:
    file = scenario.catalog.add(scenario.alice, **FACTS)
    expected = entry_pb2.MediaReference(media_id=file, caption="Sylt", **FACTS)  # type: ignore[arg-type]
    # What the sender says of the file does not count.
    lie = media(file, caption="Sylt", content_type="image/png", size_bytes=1, height=7, width=7)
    on_stream = await scenario.alice.sent(scenario.both, lie)
    by_call = (await scenario.alice.call(message(scenario.both, lie))).appended.seq
    target = await scenario.alice.sent(scenario.both, "no words for it")
    edited = (await scenario.alice.call(edit(scenario.both, target, lie))).appended.seq
    await scenario.bob.has_all(scenario.both, edited)
    log = scenario.bob.logs[scenario.both]
    contents = [log[seq].message_appended.content for seq in (on_stream, by_call)]
    contents.append(log[edited].message_edited.content)
    fetched = {each.seq: each for each in (await scenario.bob.fetch(scenario.both)).entries}
    contents += [fetched[seq].message_appended.content for seq in (on_stream, by_call, target)]
    listed = await scenario.bob.call(chat_pb2.ListMessagesRequest(conversation_id=scenario.both))
    contents += [each.message_appended.content for each in listed.messages]
    assert contents == [entry_pb2.Content(media=expected)] * 9
    assert {(each.user_id, *each.media_ids) for each in scenario.catalog.claims} == {(scenario.alice.user_id, file)}


async def test_retry_after_the_file_is_gone_gets_the_first_result(scenario: Scenario) -> None:
    alice, both, file = scenario.alice, scenario.both, scenario.catalog.add(scenario.alice)
    first, second = new_id(), new_id()
    seq = await alice.sent(both, media(file), client_message_id=first)
    appended = (await alice.call(message(both, media(file), second))).appended.seq
    scenario.catalog.refuse(file)
    assert await alice.sent(both, media(file), client_message_id=first) == seq
    assert (await alice.call(message(both, media(file), second))).appended.seq == appended
    # At every edge, and so at owners that have forgotten it or that are this server.
    for server in scenario.world.servers:
        retry = await call(scenario.world.channel(server), message(both, media(file), first), alice.metadata)
        assert retry.appended.seq == seq
    refused = await alice.refused(both, media(file, caption="other"), client_message_id=first)
    assert refused.code_and_reason == ("ALREADY_EXISTS", "MESSAGE_ID_REUSED")
    assert (await alice.refused(both, media(file))).code_and_reason == NOT_FOUND
    assert await scenario.head() == appended


async def test_retry_with_other_facts_gets_the_first_result(scenario: Scenario) -> None:
    alice, both, key = scenario.alice, scenario.both, new_id()
    file = scenario.catalog.add(alice)
    seq = await alice.sent(both, media(file), client_message_id=key)
    assert await alice.sent(both, media(file, width=9), client_message_id=key) == seq
    other = await alice.refused(both, media(scenario.catalog.add(alice)), client_message_id=key)
    assert other.code_and_reason == ("ALREADY_EXISTS", "MESSAGE_ID_REUSED")


async def test_file_of_another_user_is_refused_everywhere(scenario: Scenario) -> None:
    alice, both = scenario.alice, scenario.both
    foreign = scenario.catalog.add(scenario.bob)
    seq, group = await alice.sent(both, "mine"), await alice.group("Weather", [scenario.bob])
    assert (await alice.refused(both, media(foreign))).code_and_reason == NOT_FOUND
    forwarded = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=foreign), forwarded=True)
    assert (await alice.refused(both, forwarded)).code_and_reason == NOT_FOUND
    for request in (
        message(both, media(foreign)),
        edit(both, seq, media(foreign)),
        account_pb2.UpdateProfileRequest(about="me", picture_media_id=foreign),
        conversation_pb2.UpdateConversationRequest(
            request_id=new_id(), conversation_id=group, title="Climate", picture_media_id=foreign
        ),
    ):
        assert (await alice.refusal(request)).code_and_reason == NOT_FOUND, request.DESCRIPTOR.name
    assert await scenario.head() == seq
    profile = (await alice.call(account_pb2.GetProfileRequest())).profile
    assert (profile.about, profile.picture_media_id) == ("", "")
    told = (await alice.call(conversation_pb2.GetConversationRequest(conversation_id=group))).conversation
    assert (told.title, told.picture_media_id) == ("Weather", "")
    # A refusal for good does not hold the later sends back.
    assert await alice.sent(both, "still there") == seq + 1


async def test_file_that_may_be_seen_is_forwarded(scenario: Scenario) -> None:
    file = scenario.catalog.add(scenario.bob, scenario.alice)
    forwarded = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=file), forwarded=True)
    seq = await scenario.alice.sent(scenario.both, forwarded)
    await scenario.bob.has_all(scenario.both, seq)
    content = scenario.bob.logs[scenario.both][seq].message_appended.content
    assert (content.forwarded, content.media.content_type) == (True, "image/png")


@pytest.mark.parametrize("field", ["profile", "group"])
async def test_picture_must_be_a_picture(scenario: Scenario, field: str) -> None:
    file = scenario.catalog.add(scenario.alice, **FACTS)
    group = await scenario.alice.group("Weather", [scenario.bob])
    request = (
        account_pb2.UpdateProfileRequest(picture_media_id=file)
        if field == "profile"
        else conversation_pb2.UpdateConversationRequest(
            request_id=new_id(), conversation_id=group, picture_media_id=file
        )
    )
    refusal = await scenario.alice.refusal(request)
    assert refusal.code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert refusal.fields == ("picture_media_id",)


async def test_slow_claim_keeps_the_order_and_delays_nothing_else(scenario: Scenario) -> None:
    alice, both, catalog = scenario.alice, scenario.both, scenario.catalog
    carol = await scenario.world.user("carol")
    other = await alice.direct(carol)
    files = [catalog.add(alice) for _ in range(3)]
    catalog.claiming.clear()
    keys = [await alice.send(both, what) for what in (media(files[0]), text("one"), media(files[1]), text("two"))]
    keys.append(await alice.send(other, media(files[2])))
    elsewhere = await alice.direct(await scenario.world.user("dave"))
    assert await alice.sent(elsewhere, "meanwhile") == 2
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")
    assert len((await alice.fetch(elsewhere)).entries) == 2
    assert not any(alice.answers[key] for key in keys), "sends of files, and those behind them, wait"
    catalog.claiming.set()
    seqs = [(await alice.next_result(key)).appended.seq for key in keys[:4]]
    assert seqs == [2, 3, 4, 5]
    assert (await alice.next_result(keys[4])).appended.seq == 2
    assert [list(each.media_ids) for each in catalog.claims] == [files[:1], files[1:]], "one call at a time"


async def test_file_that_is_not_ready_is_sent_later(scenario: Scenario) -> None:
    alice, both, file, key = scenario.alice, scenario.both, scenario.catalog.add(scenario.alice), new_id()
    not_ready = Failure("being scanned", code="UNAVAILABLE", reason="MEDIA_NOT_READY", retry_after=0.1)
    scenario.catalog.refuse(file, not_ready)
    refusal = await alice.refused(both, media(file), client_message_id=key)
    assert (refusal.code_and_reason, refusal.retry_after) == (("UNAVAILABLE", "MEDIA_NOT_READY"), 0.1)
    assert await alice.sent(both, "text goes on") == 2
    scenario.catalog.admit(file)
    assert await alice.sent(both, media(file), client_message_id=key) == 3


async def test_without_a_media_service_text_goes_on(catalog_world: World) -> None:
    world = catalog_world
    alice, bob = await world.users("alice", "bob")
    await alice.connect()
    both, file = await alice.direct(bob), "f" * 32
    begun = time.monotonic()
    keys = [await alice.send(both, what) for what in (text("one"), media(file), text("two"), media(file))]
    results = [await alice.next_result(key, CLAIM_BOUND_S) for key in keys]
    assert time.monotonic() - begun < CLAIM_BOUND_S
    assert [each.appended.seq for each in results] == [2, 0, 3, 0]
    # Later ones are refused without a wait for each.
    for _ in range(10):
        assert (await alice.refused(both, media(file))).code_and_reason == UNAVAILABLE
    assert time.monotonic() - begun < 3 * CLAIM_BOUND_S
    assert await alice.sent(both, "three") == 4
    assert (await alice.refusal(message(both, media(file)))).code_and_reason == UNAVAILABLE
    picture = account_pb2.UpdateProfileRequest(picture_media_id=file)
    assert (await alice.refusal(picture)).code_and_reason == UNAVAILABLE
    async with serve_catalog(world.stack) as catalog:
        catalog.open = True

        async def is_sent_at(server: str) -> bool:
            with suppress(grpc.aio.AioRpcError):
                sent = await call(world.channel(server), message(both, media(file)), alice.metadata)
                return bool(sent.appended.seq)
            return False

        for server in world.servers:
            await eventually(partial(is_sent_at, server), CLAIM_BOUND_S)
        assert await alice.sent(both, media(file)) > 4


async def test_welcome_tells_the_limits_of_files(scenario: Scenario) -> None:
    limits = (await (await scenario.world.user("carol")).open()).limits
    assert limits.media_upload_bytes == 10 * 1024 * 1024
    assert limits.media_file_bytes == 2 * 1024 * 1024 * 1024
    assert list(limits.media_types) == ["image/*", "video/mp4"]


async def test_stream_that_is_superseded_still_answers_what_waits(scenario: Scenario) -> None:
    alice, both, file = scenario.alice, scenario.both, scenario.catalog.add(scenario.alice)
    scenario.catalog.claiming.clear()
    key, first = await alice.send(both, media(file)), alice.stream
    await alice.connect(at=scenario.world.servers[0])
    assert (await first.next_frame("error")).status.message
    scenario.catalog.claiming.set()
    answer = await alice.next_result(key)
    assert answer.appended.seq == 2
