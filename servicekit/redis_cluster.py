"""A client of Redis Cluster, and the primaries of a client: those of a cluster, or the only Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import SlotNotCoveredError

# A cluster client refuses calls beyond this number at a time; a client of one Redis lets them wait.
MAX_NODE_CONNECTIONS: Final = 1024
# The name of the only primary if Redis is no cluster.
ONLY_PRIMARY: Final = ""
_DEFAULT_PORT: Final = 6379


def open_cluster(url: str, connection_classes: Mapping[type, type[AbstractConnection]], **options: Any) -> Redis:
    """Return a client of a cluster that has the methods of `Redis`; `url` names at least one node.

    It is a Redis URL with one or more `host:port`, separated by commas. `options` are those of the connections. Raise
    ValueError if the URL is invalid.
    """
    first, others = _split_nodes(url)
    startup_nodes = [ClusterNode(host, port) for host, port in others]
    cluster = RedisCluster.from_url(first, startup_nodes=startup_nodes, max_connections=MAX_NODE_CONNECTIONS, **options)
    connection_class: Any = connection_classes[cluster.connection_kwargs["connection_class"]]
    # Of the nodes that are found later, and of those that exist.
    cluster.connection_kwargs["connection_class"] = connection_class
    for node in cluster.startup_nodes:
        node.connection_class = connection_class
    return cast("Redis", cluster)


def _split_nodes(url: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the URL with the first node alone, and the host and port of the others."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    first, *others = hosts.split(",")
    nodes = [urlsplit(f"//{other}") for other in others]
    if not all(node.hostname for node in nodes):
        raise ValueError("a node has no host")
    return (
        parts._replace(netloc=f"{credentials}{at}{first}").geturl(),
        [(str(node.hostname), node.port or _DEFAULT_PORT) for node in nodes],
    )


async def list_primaries(redis: Redis) -> list[str]:
    """Return the names of the primaries that the client knows, in order. Raise an error of UNREACHABLE."""
    cluster: Any = redis
    if not isinstance(cluster, RedisCluster):
        return [ONLY_PRIMARY]
    await cluster.initialize()
    return sorted(node.name for node in cluster.get_primaries())


def primary_of(redis: Redis, key: str) -> str:
    """Return the name of the primary of a key, after `list_primaries` was called. Raise an error of UNREACHABLE."""
    cluster: Any = redis
    if not isinstance(cluster, RedisCluster):
        return ONLY_PRIMARY
    node = cluster.get_node_from_key(key)
    if node is None:
        raise SlotNotCoveredError(f"no primary has the slot of {key}")
    return node.name


async def read_run_ids(redis: Redis) -> str:
    """Return the ids of the processes that are the primaries, in order. Raise an error of UNREACHABLE.

    Another value means that a primary was replaced or restarted, and may have lost its last writes.
    """
    cluster: Any = redis
    if not isinstance(cluster, RedisCluster):
        return str((await cluster.info("server"))["run_id"])
    replies = await cluster.execute_command("INFO", "server", target_nodes=RedisCluster.PRIMARIES)
    infos = [replies] if "run_id" in replies else replies.values()
    return ",".join(sorted(str(info["run_id"]) for info in infos))


@asynccontextmanager
async def open_primary(redis: Redis, name: str) -> AsyncIterator[Redis]:
    """Yield a client of one primary alone, for subscriptions. Raise an error of UNREACHABLE if it is no longer one."""
    cluster: Any = redis
    if not isinstance(cluster, RedisCluster):
        yield cluster
        return
    node = cluster.get_node(node_name=name)
    if node is None:
        raise ConnectionLost(f"{name} is no primary of the cluster any more")
    ignored = ("himport_registry", "response_callbacks")
    options = {key: value for key, value in node.connection_kwargs.items() if key not in ignored}
    pool: Any = BlockingConnectionPool(connection_class=node.connection_class, max_connections=1, **options)
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


async def reload_primaries(redis: Redis) -> None:
    """Ask the cluster for its primaries again, because slots have moved. Raise an error of UNREACHABLE."""
    cluster: Any = redis
    if isinstance(cluster, RedisCluster):
        await cluster.nodes_manager.initialize()
