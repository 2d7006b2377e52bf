"""No log line of a push contains a text, a token or a credential, not even those of the libraries at level debug."""

from __future__ import annotations

import logging

import pytest

from notify_service.model.push import Accepted, ApnsToken, FcmToken
from notify_service.providers.apns import ApnsProvider
from notify_service.providers.fcm import FcmProvider
from notify_service.providers.web_push import WebPushProvider
from tests.integration.notify.providers.pushes import MESSAGE
from tests.push_servers.apns import TOPIC, ApnsServer
from tests.push_servers.fcm import FcmServer
from tests.push_servers.http2_server import Http2Server
from tests.push_servers.web_push import WebPushServer

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def assert_nothing_logged(caplog: pytest.LogCaptureFixture, server: Http2Server, *secrets: str) -> None:
    credentials = [
        request.headers["authorization"] for request in server.requests if "authorization" in request.headers
    ]
    assert credentials
    for secret in (*secrets, *credentials, MESSAGE.title, MESSAGE.body):
        assert secret not in caplog.text
        assert secret.encode().hex() not in caplog.text


async def test_push_to_apns_is_not_logged(
    apns_provider: ApnsProvider, apns_server: ApnsServer, caplog: pytest.LogCaptureFixture
) -> None:
    apns_server.devices["ab" * 32] = TOPIC
    assert isinstance(await apns_provider.send(ApnsToken("ab" * 32, TOPIC), MESSAGE), Accepted)
    assert_nothing_logged(caplog, apns_server, "ab" * 32)


async def test_push_to_fcm_is_not_logged(
    fcm_provider: FcmProvider, fcm_server: FcmServer, caplog: pytest.LogCaptureFixture
) -> None:
    fcm_server.devices.add("device:one")
    assert isinstance(await fcm_provider.send(FcmToken("device:one"), MESSAGE), Accepted)
    assert_nothing_logged(caplog, fcm_server, "device:one", "access-1")


async def test_web_push_is_not_logged(
    web_push_provider: WebPushProvider, web_push_server: WebPushServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(await web_push_provider.send(web_push_server.subscribe("alice"), MESSAGE), Accepted)
    assert_nothing_logged(caplog, web_push_server, "/push/alice")
