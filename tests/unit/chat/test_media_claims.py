"""The claims of a session are batched, one call at a time, and answered once each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial

import pytest

from chat_service.model.media import ClaimOutcome, MediaFacts
from chat_service.stream.media_claims import MAX_BATCH, MediaClaimQueue
from servicekit.failure import Failure
from tests.eventually import run_ready

ALICE = "a" * 32
MISSING = Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND")


class ManualCatalog:
    """A catalog that records its calls and answers them when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.cancelled = 0
        self._answers: list[asyncio.Future[Mapping[str, ClaimOutcome]]] = []

    async def claim(self, user_id: str, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        self.calls.append((user_id, list(media_ids)))
        answer: asyncio.Future[Mapping[str, ClaimOutcome]] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def files(self) -> list[list[str]]:
        """The files of each call."""
        return [media_ids for _, media_ids in self.calls]

    async def answer(self, **refused: Failure) -> None:
        """Answer the oldest call with facts, but for the files in `refused`."""
        media_ids = self.files[len(self.calls) - len(self._answers)]
        self._answers.pop(0).set_result({each: refused.get(each, facts(each)) for each in media_ids})
        await run_ready()

    async def fail(self, error: Exception) -> None:
        """Let the oldest call raise."""
        self._answers.pop(0).set_exception(error)
        await run_ready()


class Claims:
    """A queue on a manual catalog, and the outcomes in the order in which they came."""

    def __init__(self) -> None:
        self.catalog = ManualCatalog()
        self.queue = MediaClaimQueue(ALICE, self.catalog)
        self.outcomes: list[tuple[str, ClaimOutcome]] = []

    async def add(self, *media_ids: str) -> None:
        for media_id in media_ids:
            self.queue.add(media_id, partial(self._record, media_id))
        await run_ready()

    def _record(self, media_id: str, outcome: ClaimOutcome) -> None:
        self.outcomes.append((media_id, outcome))


def facts(name: str) -> MediaFacts:
    return MediaFacts(4, "application/pdf", f"{name}.pdf", 1)


@pytest.fixture
async def claims() -> AsyncIterator[Claims]:
    claims = Claims()
    yield claims
    claims.queue.cancel()
    await run_ready()


async def test_sends_that_wait_are_claimed_by_one_call(claims: Claims) -> None:
    await claims.add("a", "b", "c")
    assert claims.catalog.calls == [(ALICE, ["a", "b", "c"])]
    await claims.catalog.answer(b=MISSING)
    assert claims.outcomes == [("a", facts("a")), ("b", MISSING), ("c", facts("c"))]


async def test_next_call_begins_when_the_first_has_ended(claims: Claims) -> None:
    await claims.add("a")
    await claims.add("b")
    await claims.add("c")
    assert claims.catalog.files == [["a"]]
    await claims.catalog.answer()
    assert claims.catalog.files == [["a"], ["b", "c"]]
    await claims.catalog.answer()
    await claims.add("d")
    assert claims.catalog.files[2:] == [["d"]]


async def test_file_of_several_sends_is_claimed_once_in_a_call(claims: Claims) -> None:
    await claims.add("a", "b", "a")
    assert claims.catalog.files == [["a", "b"]]
    await claims.catalog.answer()
    assert sorted(media_id for media_id, _ in claims.outcomes) == ["a", "a", "b"]


async def test_call_has_a_bounded_number_of_files(claims: Claims) -> None:
    media_ids = [f"{number:032x}" for number in range(2 * MAX_BATCH + 1)]
    await claims.add(*media_ids)
    for _ in range(3):
        await claims.catalog.answer()
    assert [len(each) for each in claims.catalog.files] == [MAX_BATCH, MAX_BATCH, 1]
    assert [media_id for media_id, _ in claims.outcomes] == media_ids


async def test_unanswered_claims_are_counted(claims: Claims) -> None:
    await claims.add("a")
    await claims.add("b", "b")
    assert len(claims.queue) == 3
    await claims.catalog.answer()
    assert len(claims.queue) == 2
    await claims.catalog.answer()
    assert len(claims.queue) == 0


async def test_claim_that_is_added_by_a_reply_is_made(claims: Claims) -> None:
    claims.queue.add("a", lambda _: claims.queue.add("b", lambda outcome: claims.outcomes.append(("b", outcome))))
    await run_ready()
    await claims.catalog.answer()
    await claims.catalog.answer()
    assert claims.outcomes == [("b", facts("b"))]


async def test_fault_in_a_call_is_the_outcome_of_its_files_alone(claims: Claims) -> None:
    await claims.add("a", "b")
    await claims.add("c")
    await claims.catalog.fail(ValueError("a response of another length"))
    assert [media_id for media_id, outcome in claims.outcomes if isinstance(outcome, Failure)] == ["a", "b"]
    assert {outcome.reason for _, outcome in claims.outcomes if isinstance(outcome, Failure)} == {"INTERNAL"}
    await claims.catalog.answer()
    assert claims.outcomes[2:] == [("c", facts("c"))]


async def test_cancelled_claims_are_not_answered(claims: Claims) -> None:
    await claims.add("a")
    await claims.add("b")
    claims.queue.cancel()
    await run_ready()
    assert (claims.catalog.cancelled, claims.catalog.files, claims.outcomes) == (1, [["a"]], [])
    assert len(claims.queue) == 0
