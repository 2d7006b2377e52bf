"""A session is attached to the current home of its user, and to no home once it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from chat_service.accounts.errors import DeviceRevoked
from chat_service.limits import Limits
from chat_service.model.delivery import AttachedSession
from chat_service.model.entry import Draft
from chat_service.model.requests import AppendOutcome, Attempt, OnDone, Receipt
from chat_service.stream.home_registrar import MAX_INITIAL_TRIES, RETRY_INTERVAL_S, HomeRegistrar
from chat_service.stream.session import StreamSession
from servicekit.auth import Claims
from servicekit.rate_limiter import RateLimit, RateLimiter
from tests.clock import ManualClock
from tests.eventually import eventually, run_ready

USER, DEVICE = "a" * 32, "d" * 32


class SlowHomes:
    """Homes that process messages in order, as over a peer stream, and answer when the test allows it."""

    def __init__(self) -> None:
        self.home = "first"
        self.answers = asyncio.Event()
        self.asked = 0
        self.known: set[tuple[str, str]] = set()
        self.asked_about: list[StreamSession] = []
        self.tells = asyncio.Event()
        self.tells.set()

    def home_of(self, user_id: str) -> str:
        return self.home

    def address_of(self, user_id: str) -> str:
        return self.home

    async def attach(self, home: str, session: AttachedSession, reattach: bool) -> bool:
        self.known.add((home, session.session_id))
        self.asked += 1
        await self.answers.wait()
        return True

    async def revalidate(self, session: StreamSession) -> bool:
        self.asked_about.append(session)
        await self.tells.wait()
        return not session.outbox.closed

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        self.known.discard((home, session_id))

    async def watch(self, home: str, session_id: str, user_ids: Collection[str]) -> Collection[str]:
        raise AssertionError("these sessions watch no presence")

    def unwatch(self, home: str, session_id: str) -> None:
        raise AssertionError("these sessions watch no presence")


class NoOwners:
    """Owners for sessions that send nothing."""

    def route_append(self, draft: Draft, attempt: Attempt, target: str, reply: Callable[[AppendOutcome], None]) -> None:
        raise AssertionError

    def publish_typing(self, user_id: str, conversation_id: str, typing: bool) -> None:
        raise AssertionError

    def owner_of(self, conversation_id: str) -> str:
        raise AssertionError

    def send_receipt(self, receipt: Receipt, reply: OnDone) -> None:
        raise AssertionError


@pytest.fixture
async def homes() -> SlowHomes:
    return SlowHomes()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def attaching(homes: SlowHomes, clock: ManualClock) -> AsyncIterator[HomeRegistrar]:
    attaching = HomeRegistrar(homes, homes.revalidate, clock)
    task = asyncio.create_task(attaching.run())
    yield attaching
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def session() -> StreamSession:
    return session_of(DEVICE)


def session_of(device: str) -> StreamSession:
    clock, limits = ManualClock(), Limits()
    rate = RateLimiter(RateLimit(limits.sends_per_second, limits.sends_burst), clock, 1).bucket_of(device)
    return StreamSession(Claims(USER, device, 0), limits, clock, "edge", NoOwners(), rate)


async def test_session_ended_during_attach_is_detached(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession
) -> None:
    beginning = asyncio.create_task(attaching.attach_new(session))
    await eventually(lambda: homes.asked)
    beginning.cancel()
    await asyncio.wait([beginning])
    attaching.detach(session)
    assert homes.known == set()


async def test_session_is_attached_to_new_home_after_change_during_attach(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession
) -> None:
    attaching.mark_detached(session)
    await eventually(lambda: homes.asked)
    homes.home = "second"
    attaching.mark_detached(session)
    homes.answers.set()
    await eventually(lambda: session.home == "second")
    assert homes.known == {("second", session.session_id)}
    assert session.take_recheck_request()


async def nobody_else_is_known(attaching: HomeRegistrar, homes: SlowHomes) -> None:
    """Attach another session after all pending ones, and assert that only it is attached."""
    other = session_of("e" * 32)
    attaching.mark_detached(other)
    await eventually(lambda: other.home)
    assert homes.known == {("first", other.session_id)}


async def test_signed_out_session_is_not_attached_again(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession
) -> None:
    homes.answers.set()
    session.close(DeviceRevoked("the device was signed out"))
    attaching.mark_detached(session)
    await nobody_else_is_known(attaching, homes)


async def test_session_ended_during_revalidation_is_not_attached(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession
) -> None:
    homes.answers.set()
    homes.tells.clear()
    attaching.mark_detached(session)
    await eventually(lambda: homes.asked_about)
    attaching.detach(session)
    session.end()
    homes.tells.set()
    await nobody_else_is_known(attaching, homes)


async def test_session_is_never_attached_twice_concurrently(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession, clock: ManualClock
) -> None:
    for _ in range(5):
        attaching.mark_detached(session)
        await run_ready()
        clock.advance(RETRY_INTERVAL_S)
    await run_ready()
    assert homes.asked == 1


async def test_session_detached_during_first_attach_is_attached_once(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession, clock: ManualClock
) -> None:
    homes.answers.set()
    homes.home = ""
    beginning = asyncio.create_task(attaching.attach_new(session))
    await run_ready()
    attaching.mark_detached(session)
    homes.home = "first"
    await run_ready()
    assert homes.asked == 0, "the first attach waits before its next try, and no worker tries meanwhile"
    clock.advance(RETRY_INTERVAL_S)
    await beginning
    assert homes.asked_about == [], "the first attach succeeded without a worker"
    assert homes.known == {("first", session.session_id)}
    assert session.home == "first"


async def test_session_without_home_starts_and_is_attached_later(
    attaching: HomeRegistrar, homes: SlowHomes, session: StreamSession, clock: ManualClock
) -> None:
    homes.answers.set()
    homes.home = ""
    beginning = asyncio.create_task(attaching.attach_new(session))
    for _ in range(MAX_INITIAL_TRIES):
        await run_ready()
        assert not beginning.done()
        clock.advance(RETRY_INTERVAL_S)
    await beginning
    assert session.home == ""
    homes.home = "first"
    clock.advance(RETRY_INTERVAL_S)
    await eventually(lambda: session.home)
    assert homes.known == {("first", session.session_id)}
    assert session.take_recheck_request()
