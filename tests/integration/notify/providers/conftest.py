"""Local servers of the three providers, and the providers that send to them, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from notify_service.providers.apns import ApnsProvider
from notify_service.providers.apns_token import ApnsKey
from notify_service.providers.client import PushClient
from notify_service.providers.connections import DEFAULT_LIMITS, ClientLimits
from notify_service.providers.fcm import FcmProvider
from notify_service.providers.push_hosts import PushHosts
from notify_service.providers.service_account import ServiceAccount
from notify_service.providers.vapid import VapidKey
from notify_service.providers.web_push import WebPushProvider
from tests.clock import ManualClock
from tests.push_servers import apns
from tests.push_servers.apns import ApnsServer
from tests.push_servers.authority import Authority
from tests.push_servers.fcm import FcmServer
from tests.push_servers.web_push import WebPushServer

# For tests of servers that do not answer, which cost this long. Others are patient with a busy machine.
IMPATIENT = replace(DEFAULT_LIMITS, connect_s=2.0, read_s=0.5, total_s=2.0)
impatient = pytest.mark.parametrize("limits", [IMPATIENT], ids=["impatient"])


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def account_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limits() -> ClientLimits:
    return DEFAULT_LIMITS


@pytest.fixture
async def client(authority: Authority, clock: ManualClock, limits: ClientLimits) -> AsyncIterator[PushClient]:
    client = PushClient(clock, ca_file=authority.ca_file, limits=limits)
    yield client
    await client.close()


@pytest.fixture
def apns_key() -> ApnsKey:
    return ApnsKey(ec.generate_private_key(ec.SECP256R1()), apns.KEY_ID, apns.TEAM_ID)


@pytest.fixture
async def apns_server(authority: Authority, apns_key: ApnsKey, clock: ManualClock) -> AsyncIterator[ApnsServer]:
    async with ApnsServer(authority.server_context(), apns_key.private_key.public_key(), clock) as server:
        yield server


@pytest.fixture
def apns_provider(client: PushClient, apns_key: ApnsKey, apns_server: ApnsServer, clock: ManualClock) -> ApnsProvider:
    urls = {"production_url": apns_server.url, "sandbox_url": "https://localhost:1"}
    return ApnsProvider(client, apns_key, [apns.TOPIC], clock, **urls)


@pytest.fixture
async def fcm_server(
    authority: Authority, account_key: rsa.RSAPrivateKey, clock: ManualClock
) -> AsyncIterator[FcmServer]:
    async with FcmServer(authority.server_context(), account_key, clock) as server:
        yield server


@pytest.fixture
def account(fcm_server: FcmServer, tmp_path_factory: pytest.TempPathFactory) -> ServiceAccount:
    path = tmp_path_factory.mktemp("account") / "account.json"
    path.write_bytes(fcm_server.account_file())
    return ServiceAccount.from_file(path)


@pytest.fixture
def fcm_provider(client: PushClient, account: ServiceAccount, fcm_server: FcmServer, clock: ManualClock) -> FcmProvider:
    return FcmProvider(client, account, clock, url=fcm_server.url)


@pytest.fixture
def vapid_key() -> VapidKey:
    return VapidKey(ec.generate_private_key(ec.SECP256R1()), "mailto:push@example.org")


@pytest.fixture
async def web_push_server(
    authority: Authority, vapid_key: VapidKey, clock: ManualClock
) -> AsyncIterator[WebPushServer]:
    async with WebPushServer(authority.server_context(), vapid_key.public_key, clock) as server:
        yield server


@pytest.fixture
def web_push_provider(
    client: PushClient, vapid_key: VapidKey, web_push_server: WebPushServer, clock: ManualClock
) -> WebPushProvider:
    return WebPushProvider(client, vapid_key, PushHosts([f"localhost:{web_push_server.port}"]), clock)
