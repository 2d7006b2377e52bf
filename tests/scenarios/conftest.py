"""Fixtures of the scenarios: a shared system, and a separate one for scenarios that break parts of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from devstack.errors import ProcessFailed
from devstack.services import CHAT, Services
from devstack.stack import Stack
from tests.loop import Loop
from tests.raw.catalog import CatalogServer, serve_catalog
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.scans import no_scans

# Long enough for what a play does between being asked to leave and being shown out.
DRAIN_S = 5
ENVIRONMENT = {"PARLEY_SIGN_IN_RATE": "1000", "PARLEY_SIGN_IN_BURST": "10000"}


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """The event loop of tests that hypothesis drives."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    """The users of one test on the shared system."""
    async with World(stack) as world:
        yield world


@pytest.fixture(scope="session")
def catalog_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system of chat alone, whose chat servers ask for a media service that the tests serve."""
    environment = {**ENVIRONMENT, "PARLEY_MEDIA_SERVICE": "true", "PARLEY_MEDIA_TYPES": "image/*,video/mp4"}
    folder = tmp_path_factory.mktemp("catalog")
    stack = Stack(folder, chat_servers=3, services=(CHAT,), environment=environment)
    with stack, no_scans(stack.mongo_uri):
        yield stack


@pytest.fixture
async def catalog_world(catalog_stack: Stack) -> AsyncIterator[World]:
    """The users of one test on the system without a media service."""
    async with World(catalog_stack) as world:
        yield world


@pytest.fixture
async def catalog(catalog_stack: Stack) -> AsyncIterator[CatalogServer]:
    """The catalog of that system."""
    async with serve_catalog(catalog_stack) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def fragile_services() -> Services:
    """The services of `fragile_stack`; a file that needs more than chat has a fixture of this name."""
    return (CHAT,)


@pytest.fixture(scope="module")
def fragile_stack(tmp_path_factory: pytest.TempPathFactory, fragile_services: Services) -> Iterator[Stack]:
    """A system that the tests of one file may break."""
    environment = {**ENVIRONMENT, "PARLEY_DRAIN_SECONDS": str(DRAIN_S)}
    folder = tmp_path_factory.mktemp("fragile")
    with Stack(folder, chat_servers=3, services=fragile_services, environment=environment) as stack:
        yield stack


@pytest.fixture
async def fragile_world(fragile_stack: Stack) -> AsyncIterator[World]:
    """The users of one test on a system that it may break; it is repaired afterwards."""
    async with World(fragile_stack) as world:
        try:
            yield world
        finally:
            await asyncio.to_thread(repair, fragile_stack)


def repair(stack: Stack) -> None:
    """Start stopped parts and resume frozen ones."""
    for part in stack.processes.values():
        part.resume()
        try:
            part.start()
            part.wait_healthy()
        except ProcessFailed:
            # It was on its way out.
            part.start()
            part.wait_healthy()
    stack.wait_envoy_healthy()


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice and bob on one server, in a direct conversation; alice's errors must affect only alice."""

    world: World
    edge: str
    alice: RawDevice
    bob: RawDevice
    conversation: str


@pytest.fixture
async def scene(world: World) -> AsyncIterator[Scene]:
    """The scene, with carol and dave on the same server, whose streams must work until the end."""
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    edge = world.servers[0]
    for each in (alice, carol, dave):
        await each.connect(home=edge)
    theirs = await carol.direct(dave)
    yield Scene(world, edge, alice, bob, await alice.direct(bob))
    await carol.sent(theirs, "are you there?")
    await dave.has(theirs, "are you there?")
    assert carol.stream.open
    assert carol.stream.kinds.count("error") == dave.stream.kinds.count("error") == 0
