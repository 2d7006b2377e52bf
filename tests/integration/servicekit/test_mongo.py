"""A lost primary of MongoDB is reported, and a client that was closed is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from devstack.stack import Stack
from servicekit.mongo import connect
from tests.eventually import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def own_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("mongod"), only=["mongod"]) as stack:
        yield stack


async def test_only_a_lost_primary_is_reported(own_mongod: Stack) -> None:
    with capture_logs() as logged:
        await (await connect(own_mongod.mongo_uri, "parley")).client.close()
        database = await connect(own_mongod.mongo_uri, "parley")
        assert logged == []
        own_mongod.processes["mongod"].kill()
        await eventually(lambda: [line["event"] for line in logged] == ["MongoDB primary lost"], timeout=30)
        await database.client.close()
    assert len(logged) == 1
