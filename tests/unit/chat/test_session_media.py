"""A session holds back sends of files until they are claimed, within its bounds and until its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from itertools import count

import pytest

from chat_service.limits import Limits
from chat_service.model.entry import NO_REFERENCES, Draft, Message, References
from chat_service.model.media import ClaimOutcome, MediaFacts
from chat_service.model.requests import Appended, AppendOutcome, Attempt, OnDone, Receipt
from chat_service.stream.session import MAX_CLAIMS, StreamSession
from parley.chat.v1 import chat_pb2, entry_pb2
from servicekit.auth import Claims
from servicekit.errors import ServerDraining, ServiceUnavailable, SessionSuperseded
from servicekit.failure import Failure
from servicekit.rate_limiter import RateLimit, RateLimiter
from servicekit.status import from_proto
from tests.clock import ManualClock
from tests.eventually import run_ready

USER, DEVICE, FILE, HERE, THERE = "a" * 32, "d" * 32, "f" * 32, "1" * 32, "2" * 32
FACTS = MediaFacts(1, "image/png", "cat.png", 1000)
MEDIA = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=FILE))
TEXT = entry_pb2.Content(text=entry_pb2.Text(body="words"))


class ManualCatalog:
    """A catalog that answers when the test allows it."""

    def __init__(self) -> None:
        self.outcome: ClaimOutcome = FACTS
        self.answering = asyncio.Event()
        self.calls = 0

    async def claim(self, _: str, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        self.calls += 1
        await self.answering.wait()
        return dict.fromkeys(media_ids, self.outcome)


class PromptOwners:
    """Owners that append every send at once, after they have refused as many as there are `refusals`."""

    def __init__(self) -> None:
        self.appended: list[Draft] = []
        self.refusals: list[Failure] = []

    def route_append(self, draft: Draft, attempt: Attempt, target: str, reply: Callable[[AppendOutcome], None]) -> None:
        if self.refusals:
            reply(self.refusals.pop(0))
            return
        self.appended.append(draft)
        reply(Appended(len(self.appended), 0))

    def publish_typing(self, user_id: str, conversation_id: str, typing: bool) -> None:
        raise AssertionError

    def owner_of(self, conversation_id: str) -> str:
        return "owner"

    def send_receipt(self, receipt: Receipt, reply: OnDone) -> None:
        raise AssertionError


class SessionHarness:
    """A session with its catalog and its owners."""

    def __init__(self, limits: Limits) -> None:
        self.catalog, self.owners, self.clock = ManualCatalog(), PromptOwners(), ManualClock()
        rate = RateLimiter(RateLimit(1e6, 1e6), self.clock, 1).bucket_of(DEVICE)
        claims = Claims(USER, DEVICE, 0)
        self.session = StreamSession(claims, limits, self.clock, "edge", self.owners, self.catalog, rate)
        self._numbers = count(1)

    def send(self, conversation_id: str, content: entry_pb2.Content) -> None:
        media_id = content.media.media_id
        references = References(0, frozenset(), media_id) if media_id else NO_REFERENCES
        request_id = next(self._numbers).to_bytes(16, "big")
        change = Message(content.SerializeToString())
        self.session.submit_send(Draft(conversation_id, USER, request_id, change, made_ms=0, references=references))

    async def results(self) -> list[tuple[str, str]]:
        """Return the conversation of each answer that is in the outbox, and its reason or `appended`."""
        found = []
        async with asyncio.timeout(1):
            while (frame := await self.session.outbox.dequeue()) is not None:
                for result in chat_pb2.ConnectResponse.FromString(frame).send_results.results:
                    refused = from_proto(result.refused).reason if result.HasField("refused") else "appended"
                    found.append((result.conversation_id, refused))
        return found

    async def results_at_end(self) -> list[tuple[str, str]]:
        """End the session and return its answers."""
        await run_ready()
        self.session.close(None)
        return await self.results()


@pytest.fixture
async def harness() -> AsyncIterator[SessionHarness]:
    harness = SessionHarness(Limits())
    yield harness
    harness.session.end()
    await run_ready()


async def test_other_conversations_are_not_delayed(harness: SessionHarness) -> None:
    harness.send(HERE, MEDIA)
    harness.send(HERE, TEXT)
    harness.send(THERE, TEXT)
    await run_ready()
    assert [draft.conversation_id for draft in harness.owners.appended] == [THERE]
    harness.catalog.answering.set()
    assert await harness.results_at_end() == [(THERE, "appended"), (HERE, "appended"), (HERE, "appended")]
    claimed = entry_pb2.Content.FromString(harness.owners.appended[1].change.content)  # type: ignore[union-attr]
    assert claimed.media.file_name == FACTS.file_name


async def test_text_is_never_claimed(harness: SessionHarness) -> None:
    for _ in range(3):
        harness.send(HERE, TEXT)
    assert len(harness.owners.appended) == 3, "at once, within the call"
    await run_ready()
    assert harness.catalog.calls == 0


async def test_sends_of_files_that_wait_are_bounded(harness: SessionHarness) -> None:
    for number in range(MAX_CLAIMS):
        harness.send(f"{number:032x}", MEDIA)
    harness.send(HERE, MEDIA)
    harness.send(HERE, TEXT)
    harness.send(THERE, TEXT)
    harness.catalog.answering.set()
    results = await harness.results_at_end()
    assert results[:3] == [(HERE, "RATE_LIMITED"), (HERE, "EARLIER_SEND_REFUSED"), (THERE, "appended")]
    assert len(results[3:]) == MAX_CLAIMS
    assert {outcome for _, outcome in results[3:]} == {"appended"}


@pytest.mark.parametrize("outcome", [FACTS, ServiceUnavailable("no media server")])
async def test_bytes_of_waiting_sends_are_bounded_and_freed(outcome: ClaimOutcome) -> None:
    size = len(MEDIA.SerializeToString())
    harness = SessionHarness(replace(Limits(), unanswered_bytes=2 * size))
    harness.catalog.outcome = outcome
    for _ in range(3):
        harness.send(HERE, MEDIA)
    harness.send(THERE, TEXT)
    harness.catalog.answering.set()
    await run_ready()
    # Everything is answered, so there is room again for exactly as much.
    harness.catalog.answering.clear()
    for _ in range(3):
        harness.send("3" * 32, MEDIA)
    harness.send("4" * 32, TEXT)
    harness.catalog.answering.set()
    limited = [
        conversation_id for conversation_id, reason in await harness.results_at_end() if reason == "RATE_LIMITED"
    ]
    assert limited == [THERE, "4" * 32]
    harness.session.end()


async def test_superseded_session_answers_what_waits_and_ends(harness: SessionHarness) -> None:
    harness.send(HERE, MEDIA)
    harness.session.close(SessionSuperseded("a newer stream of this device is open"))
    await run_ready()
    assert not harness.session.outbox.closed
    harness.catalog.answering.set()
    assert await harness.results() == [(HERE, "appended")]


async def test_session_that_ends_appends_nothing_more(harness: SessionHarness) -> None:
    harness.send(HERE, MEDIA)
    harness.send(HERE, TEXT)
    await run_ready()
    harness.session.close(ServerDraining("this server is draining"))
    harness.session.end()
    harness.catalog.answering.set()
    await run_ready()
    assert harness.owners.appended == []
