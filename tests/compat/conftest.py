"""A system of today's servers on the stores of an earlier commit, as they were recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import bson
import pytest
from pymongo import MongoClient
from redis import Redis

from devstack.layout import StoreAddresses
from devstack.services import SERVICES, with_replicas
from devstack.stack import STORES, Stack
from tests.compat.recording import Recording, load, recordings
from tests.loop import Loop
from tests.raw.bucket import Bucket
from tests.raw.world import World


@pytest.fixture(scope="module", params=recordings(), ids=lambda path: path.name.partition(".")[0])
def recording(request: pytest.FixtureRequest) -> Recording:
    """The recording of a commit."""
    return load(request.param)


@pytest.fixture(scope="module")
def recorded_stack(recording: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with one server of each service, whose stores have the data of the recording."""
    folder, services = tmp_path_factory.mktemp("recorded"), SERVICES
    for name in ("presence", "notify"):
        services = with_replicas(services, name, 1)
    with Stack(folder / "stores", only=STORES) as stores:
        restore(recording, stores)
        addresses = StoreAddresses(stores.mongo_uri, stores.redis_url, stores.etcd_endpoint, stores.s3)
        environment = {"PARLEY_DRAIN_SECONDS": "0"}
        with Stack(folder / "servers", 1, services=services, stores=addresses, environment=environment) as stack:
            yield stack


@pytest.fixture
async def recorded_world(recorded_stack: Stack) -> AsyncIterator[World]:
    """The users of a test on that system; those of the recording are known to it as well."""
    async with World(recorded_stack) as world:
        yield world


def restore(recording: Recording, stores: Stack) -> None:
    """Write what was stored into empty stores."""
    with MongoClient[dict[str, object]](stores.mongo_uri) as client:
        for name, options in recording.options.items():
            collection = client["parley"].create_collection(name, **options)
            if documents := [bson.decode(each) for each in recording.documents[name]]:
                collection.insert_many(documents)
    with Redis.from_url(stores.redis_url) as redis:
        for key, value in recording.keys:
            redis.restore(key, 0, value)
    loop, bucket = Loop(), Bucket(stores)
    for name, data in recording.objects.items():
        loop.run(bucket.put(name, data))
    loop.close()
