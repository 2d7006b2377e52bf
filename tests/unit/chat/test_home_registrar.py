"""A session is attached to the current home of its user, and to no home once it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from chat_service.accounts.errors import DeviceRevoked
from chat_service.limits import Limits
from chat_service.media.catalog import EmptyMediaCatalog
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


class ManualHomes:
    """Homes that process messages in order, as over a peer stream, and answer when the test allows it."""

    def __init__(self) -> None:
        self.home = "first"
        self.attach_allowed = asyncio.Event()
        self.attach_calls = 0
        self.attached: set[tuple[str, str]] = set()
        self.revalidated: list[StreamSession] = []
        self.revalidation_allowed = asyncio.Event()
        self.revalidation_allowed.set()

    def home_of(self, user_id: str) -> str:
        return self.home

    def address_of(self, user_id: str) -> str:
        return self.home

    async def attach(self, home: str, session: AttachedSession, reattach: bool) -> bool:
        self.attached.add((home, session.session_id))
        self.attach_calls += 1
        await self.attach_allowed.wait()
        return True

    async def revalidate(self, session: StreamSession) -> bool:
        self.revalidated.append(session)
        await self.revalidation_allowed.wait()
        return not session.outbox.closed

    def set_activity(self, home: str, session: AttachedSession) -> None:
        raise AssertionError("these sessions stay in the foreground")

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        self.attached.discard((home, session_id))


class UnusedOwners:
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
async def homes() -> ManualHomes:
    return ManualHomes()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def registrar(homes: ManualHomes, clock: ManualClock) -> AsyncIterator[HomeRegistrar]:
    registrar = HomeRegistrar(homes, homes.revalidate, clock)
    task = asyncio.create_task(registrar.run())
    yield registrar
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def session() -> StreamSession:
    return session_of(DEVICE)


def session_of(device: str) -> StreamSession:
    clock, limits = ManualClock(), Limits()
    rate = RateLimiter(RateLimit(limits.sends_per_second, limits.sends_burst), clock, 1).bucket_of(device)
    return StreamSession(Claims(USER, device, 0), limits, clock, "edge", UnusedOwners(), EmptyMediaCatalog(), rate)


async def test_session_ended_during_attach_is_detached(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession
) -> None:
    attach_task = asyncio.create_task(registrar.attach_new(session))
    await eventually(lambda: homes.attach_calls)
    attach_task.cancel()
    await asyncio.wait([attach_task])
    registrar.detach(session)
    assert homes.attached == set()


async def test_session_is_attached_to_new_home_after_change_during_attach(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession
) -> None:
    registrar.mark_detached(session)
    await eventually(lambda: homes.attach_calls)
    homes.home = "second"
    registrar.mark_detached(session)
    homes.attach_allowed.set()
    await eventually(lambda: session.home == "second")
    assert homes.attached == {("second", session.session_id)}
    assert session.take_recheck_request()


async def assert_only_other_is_attached(registrar: HomeRegistrar, homes: ManualHomes) -> None:
    """Attach another session after all pending ones, and assert that only it is attached."""
    other = session_of("e" * 32)
    registrar.mark_detached(other)
    await eventually(lambda: other.home)
    assert homes.attached == {("first", other.session_id)}


async def test_signed_out_session_is_not_attached_again(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession
) -> None:
    homes.attach_allowed.set()
    session.close(DeviceRevoked("the device was signed out"))
    registrar.mark_detached(session)
    await assert_only_other_is_attached(registrar, homes)


async def test_session_ended_during_revalidation_is_not_attached(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession
) -> None:
    homes.attach_allowed.set()
    homes.revalidation_allowed.clear()
    registrar.mark_detached(session)
    await eventually(lambda: homes.revalidated)
    registrar.detach(session)
    session.end()
    homes.revalidation_allowed.set()
    await assert_only_other_is_attached(registrar, homes)


async def test_session_is_never_attached_twice_concurrently(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession, clock: ManualClock
) -> None:
    for _ in range(5):
        registrar.mark_detached(session)
        await run_ready()
        clock.advance(RETRY_INTERVAL_S)
    await run_ready()
    assert homes.attach_calls == 1


async def test_session_detached_during_first_attach_is_attached_once(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession, clock: ManualClock
) -> None:
    homes.attach_allowed.set()
    homes.home = ""
    attach_task = asyncio.create_task(registrar.attach_new(session))
    await run_ready()
    registrar.mark_detached(session)
    homes.home = "first"
    await run_ready()
    assert homes.attach_calls == 0, "the first attach waits before its next try, and no worker tries meanwhile"
    clock.advance(RETRY_INTERVAL_S)
    await attach_task
    assert homes.revalidated == [], "the first attach succeeded without a worker"
    assert homes.attached == {("first", session.session_id)}
    assert session.home == "first"


async def test_session_without_home_starts_and_is_attached_later(
    registrar: HomeRegistrar, homes: ManualHomes, session: StreamSession, clock: ManualClock
) -> None:
    homes.attach_allowed.set()
    homes.home = ""
    attach_task = asyncio.create_task(registrar.attach_new(session))
    for _ in range(MAX_INITIAL_TRIES):
        await run_ready()
        assert not attach_task.done()
        clock.advance(RETRY_INTERVAL_S)
    await attach_task
    assert session.home == ""
    homes.home = "first"
    clock.advance(RETRY_INTERVAL_S)
    await eventually(lambda: session.home)
    assert homes.attached == {("first", session.session_id)}
    assert session.take_recheck_request()
