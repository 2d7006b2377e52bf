"""Fixtures that start real servers: single ones, and whole systems behind Envoy.

The root conftest names this module as a plugin, so every test has these fixtures. A server lives as long as the
session; each test uses its own database.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from devstack.stack import Stack
from servicekit.mongo import Database, connect
from servicekit.redis import connect_redis
from tests.scans import no_scans
from tests.valkey_cluster import ValkeyCluster


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a mongod alone: `.mongo_uri`, and `.processes["mongod"]` to kill or freeze."""
    with Stack(tmp_path_factory.mktemp("mongod"), only=["mongod"]) as stack:
        yield stack


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a Valkey alone: `.redis_url`."""
    with Stack(tmp_path_factory.mktemp("valkey"), only=["valkey"]) as stack:
        yield stack


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """Yield a cluster of three Valkeys."""
    with ValkeyCluster(tmp_path_factory.mktemp("valkey-cluster")) as cluster:
        yield cluster


@pytest.fixture(params=["one", "cluster"])
def redis_server(request: pytest.FixtureRequest) -> tuple[str, bool]:
    """Return the URL of a Valkey, and that of a cluster; True for the cluster."""
    if request.param == "cluster":
        return request.getfixturevalue("valkey_cluster").url, True
    return request.getfixturevalue("valkey").redis_url, False


@pytest.fixture
async def redis(redis_server: tuple[str, bool]) -> AsyncIterator[Redis]:
    """Yield a client of an empty Valkey, and one of an empty cluster."""
    url, cluster = redis_server
    client = connect_redis(url, cluster=cluster)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an etcd alone: `.etcd_endpoint`."""
    with Stack(tmp_path_factory.mktemp("etcd"), only=["etcd"]) as stack:
        yield stack


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a SeaweedFS alone: `.s3`. It lives as long as the module, because it uses a processor also when idle."""
    with Stack(tmp_path_factory.mktemp("seaweedfs"), only=["seaweedfs"]) as stack:
        yield stack


@pytest.fixture
def database_name() -> str:
    """Return a unique name for a database or a key prefix."""
    return f"test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def database(mongod: Stack, database_name: str) -> AsyncIterator[Database]:
    """Yield an empty database of a mongod, and drop it."""
    database = await connect(mongod.mongo_uri, database_name)
    yield database
    await database.client.drop_database(database_name)
    await database.client.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a whole system: three chat servers behind Envoy. A test restarts every part that it kills."""
    with Stack(tmp_path_factory.mktemp("stack"), chat_servers=3) as stack, no_scans(stack.mongo_uri):
        yield stack
