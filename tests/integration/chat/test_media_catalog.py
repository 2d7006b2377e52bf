"""The client of the media service's catalog: outcomes of claims, failures as outcomes, and prompt ones in an outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from chat_service.media.catalog import CLAIM_TIMEOUT_S, SUSPENSION_S, EmptyMediaCatalog, MediaCatalogClient
from chat_service.model.media import ClaimOutcome, MediaFacts
from devstack.stack import Stack
from parley.internal.v1.media_pb2_grpc import MediaCatalogServiceStub
from servicekit.auth import ServiceCredential
from servicekit.client import ServiceChannel
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.etcd import Etcd
from servicekit.failure import Failure
from tests.clock import ManualClock
from tests.eventually import eventually
from tests.raw.catalog import CatalogServer, register_catalog

pytestmark = pytest.mark.integration

ALICE, BOB = "a" * 32, "b" * 32
CREDENTIAL = ServiceCredential("a secret of all the services")


@dataclass
class Deployment:
    """A client of the catalog with a manual clock, and the media service that it calls."""

    client: MediaCatalogClient
    clock: ManualClock
    channel: ServiceChannel
    etcd: Etcd
    stack: AsyncExitStack

    async def start_service(self) -> CatalogServer:
        catalog = await self.stack.enter_async_context(register_catalog(self.etcd, CREDENTIAL, "deployment"))
        await eventually(lambda: self.channel._watcher.ring.members)
        return catalog

    async def claim(self, *media_ids: str) -> list[ClaimOutcome]:
        outcomes = await self.client.claim(ALICE, media_ids)
        assert list(outcomes) == list(media_ids)
        return list(outcomes.values())


@pytest.fixture
async def deployment(etcd: Stack) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack, Etcd([etcd.etcd_endpoint]) as connected:
        channel, clock = ServiceChannel("media", connected, CREDENTIAL), ManualClock()
        stack.push_async_callback(channel.close)
        watch = asyncio.create_task(channel.run())
        stack.callback(watch.cancel)
        client = MediaCatalogClient(channel.stub(MediaCatalogServiceStub), clock)
        yield Deployment(client, clock, channel, connected, stack)


async def test_outcomes_are_those_of_each_file(deployment: Deployment) -> None:
    catalog = await deployment.start_service()
    mine, theirs = catalog.add_file(ALICE, width=4, height=3), catalog.add_file(BOB)
    facts, refused = await deployment.claim(mine, theirs)
    assert facts == MediaFacts(1, "image/png", "", 1000, width=4, height=3)
    assert isinstance(refused, Failure)
    assert (refused.reason, refused.retry_after) == ("MEDIA_NOT_FOUND", None)


@pytest.mark.parametrize(
    ("failure", "reason", "final"),
    [
        (StoreUnavailable("no primary", retry_after=60), "STORE_UNAVAILABLE", False),
        (ServiceUnavailable("the directory does not answer", retry_after=60), "SERVICE_UNAVAILABLE", False),
        (ValueError("a fault"), "INTERNAL", True),
    ],
)
async def test_failure_of_the_call_is_the_outcome_of_every_file(
    deployment: Deployment, failure: Exception, reason: str, final: bool
) -> None:
    catalog = await deployment.start_service()
    catalog.failure = failure
    for outcome in await deployment.claim("1" * 32, "2" * 32):
        assert isinstance(outcome, Failure)
        assert (outcome.reason, outcome.retry_after is None) == (reason, final)


async def test_claims_fail_at_once_for_a_moment_after_one_that_nobody_answered(deployment: Deployment) -> None:
    begun = time.monotonic()
    [outcome] = await deployment.claim("1" * 32)
    assert isinstance(outcome, ServiceUnavailable)
    assert time.monotonic() - begun < 2 * CLAIM_TIMEOUT_S
    catalog = await deployment.start_service()
    file = catalog.add_file(ALICE)
    [outcome] = await deployment.claim(file)
    assert isinstance(outcome, ServiceUnavailable)
    assert catalog.claims == []
    deployment.clock.advance(SUSPENSION_S)
    [outcome] = await deployment.claim(file)
    assert isinstance(outcome, MediaFacts)


async def test_silent_server_is_not_waited_for(deployment: Deployment) -> None:
    catalog = await deployment.start_service()
    catalog.claiming.clear()
    begun = time.monotonic()
    [outcome] = await deployment.claim("1" * 32)
    assert isinstance(outcome, ServiceUnavailable)
    assert time.monotonic() - begun < 2 * CLAIM_TIMEOUT_S
    catalog.claiming.set()


async def test_owned_files_are_listed_in_pages(deployment: Deployment) -> None:
    catalog = await deployment.start_service()
    catalog.page_size = 2
    files = sorted(catalog.add_file(ALICE) for _ in range(5))
    catalog.add_file(BOB)
    found, token, first = list[str](), "", True
    while first or token:
        page = await deployment.client.list_owned(ALICE, token)
        found += [each.media_id for each in page.files]
        token, first = page.next_page_token, False
    assert found == files


async def test_deployment_without_a_media_service_refuses_at_once_and_lists_nothing() -> None:
    catalog = EmptyMediaCatalog()
    outcomes = await catalog.claim(ALICE, ["1" * 32, "2" * 32])
    assert {type(outcome) for outcome in outcomes.values()} == {ServiceUnavailable}
    assert len(outcomes) == 2
    page = await catalog.list_owned(ALICE, "")
    assert (list(page.files), page.next_page_token) == ([], "")
