"""The check of the S3 store when a service starts: what it creates, and what it reports to the operator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from devstack.stack import Stack
from media_service.storage.s3 import S3ObjectStore
from servicekit.clock import SystemClock
from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable
from tests.s3 import s3_settings

pytestmark = pytest.mark.integration

# The identity of a stack may use the bucket `media` alone. This one may also create some.
RIGHTS = ["Read:media", "Write:media", "List:media", "List:forbidden", "Admin:created-1", "Admin:created-2"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("seaweedfs"), only=["seaweedfs"])
    file = stack.layout.secrets.s3_identities
    identities = json.loads(file.read_bytes())
    identities["identities"][0]["actions"] = RIGHTS
    file.write_text(json.dumps(identities))
    with stack:
        yield stack


def object_store(server: Stack, **settings: Any) -> S3ObjectStore:
    return S3ObjectStore(s3_settings(server, **settings), SystemClock())


async def test_existing_bucket_is_accepted(server: Stack) -> None:
    store = object_store(server)
    await store.prepare()
    await store.prepare()
    await store.close()


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
async def test_missing_bucket_is_created_if_that_is_permitted(server: Stack, region: str) -> None:
    bucket = "created-1" if region == "us-east-1" else "created-2"
    store = object_store(server, s3_bucket=bucket, s3_region=region)
    with capture_logs() as logged:
        await store.prepare()
    assert logged == []
    assert await store.size_of("key") is None
    await store.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"s3_bucket": "forbidden"}, "refuses to create the bucket forbidden"),
        ({"s3_bucket": "others"}, "AccessDenied"),
        ({"s3_access_key": "nobody"}, "InvalidAccessKeyId"),
        ({"s3_secret_key": "wrong"}, "SignatureDoesNotMatch"),
    ],
)
async def test_refusal_is_reported_to_the_operator(server: Stack, settings: dict[str, Any], words: str) -> None:
    store = object_store(server, **settings)
    with pytest.raises(ConfigurationError, match=words) as raised:
        await store.prepare()
    assert "PARLEY_S3_*" in str(raised.value)
    assert "wrong" not in str(raised.value)
    await store.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://{endpoint}"])
async def test_store_that_does_not_answer_is_unavailable(server: Stack, url: str) -> None:
    store = object_store(server, s3_url=url.format(endpoint=server.s3.endpoint))
    with pytest.raises(StoreUnavailable):
        await store.prepare()
    await store.close()


async def test_key_that_lost_its_rights_makes_the_store_unavailable(server: Stack) -> None:
    store = object_store(server, s3_secret_key="revoked")
    with capture_logs() as logged:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.size_of("key")
            with pytest.raises(StoreUnavailable):
                await anext(store.read("key"))
            with pytest.raises(StoreUnavailable):
                await store.create_parts("key")
    assert [line["event"] for line in logged] == ["S3 outage began"]
    assert "status 403" in logged[0]["error"]
    assert REGISTRY.get_sample_value("parley_s3_up") == 0
    await store.close()
