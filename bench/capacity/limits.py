"""The sizes of servers, the limits that no measured cost contains, and prices."""

from __future__ import annotations

from dataclasses import dataclass

from bench.capacity.assumption import assumption, check_bounds, count, share


@dataclass(frozen=True, slots=True)
class Limits:
    """The sizes and limits of single servers, and prices in any currency.

    A limit of the product's own, such as `envoy_connections`, has the default of its settings. An Envoy is the
    one of k8s/.
    """

    utilisation: float = share(0.6, "share of the cores that the peak may use", minimum=0.01)
    memory_share: float = share(0.75, "share of memory, disks and connections that the peak may use", minimum=0.01)
    spare_servers: float = count(1.0, "servers of each kind that may fail at the peak", minimum=0)
    chat_cores: float = assumption(1.0, "cores", "a chat server: one process with one event loop", minimum=0.1)
    chat_memory_gib: float = assumption(2.0, "GiB", "memory of a chat server", minimum=0.1)
    chat_base_mib: float = assumption(250.0, "MiB", "memory of a chat server without streams")
    chat_streams: float = assumption(
        20_000.0, "", "streams of a chat server: what others take over when it dies", minimum=0.1
    )
    mesh_stream_kib: float = assumption(100.0, "KiB", "memory of a mesh stream, at each end")
    mesh_streams: float = assumption(1000.0, "", "mesh streams of a chat server, one to each other one", minimum=0.1)
    envoy_cores: float = assumption(2.0, "cores", "an Envoy", minimum=0.1)
    envoy_memory_gib: float = assumption(2.0, "GiB", "memory of an Envoy", minimum=0.1)
    envoy_connections: float = assumption(15_000.0, "", "connections of an Envoy", minimum=0.1)
    envoy_connects: float = assumption(2000.0, "per s", "new connections of an Envoy", minimum=0.1)
    return_seconds: float = assumption(
        120.0, "s", "time in which all streams return through Envoy after an outage", minimum=0.1
    )
    presence_cores: float = assumption(1.0, "cores", "a presence server", minimum=0.1)
    notify_cores: float = assumption(1.0, "cores", "a notify server", minimum=0.1)
    media_cores: float = assumption(4.0, "cores", "a media server with the workers that decode pictures", minimum=0.1)
    mongod_cores: float = assumption(8.0, "cores", "a member of a MongoDB shard", minimum=0.1)
    mongod_members: float = count(3.0, "members of a MongoDB shard; each writes everything")
    mongod_gigabytes: float = assumption(2000.0, "GB", "disk of a member of a MongoDB shard", minimum=0.1)
    mongod_writes: float = assumption(
        15_000.0, "per s", "documents that a MongoDB shard inserts and updates", minimum=0.1
    )
    mongod_connections: float = assumption(20_000.0, "", "connections of a member of a MongoDB shard", minimum=0.1)
    mongod_pool: float = assumption(
        10.0, "", "connections of a server to each MongoDB shard; the driver's limit is 100"
    )
    redis_cores: float = assumption(1.0, "cores", "a Redis: one thread runs all commands", minimum=0.1)
    redis_servers: float = count(1.0, "primaries of Redis that this version can use")
    redis_nodes: float = count(2.0, "nodes of a Redis: a primary with its replicas")
    redis_memory_gib: float = assumption(16.0, "GiB", "memory of a Redis", minimum=0.1)
    redis_connections: float = assumption(10_000.0, "", "connections of a Redis (maxclients)", minimum=0.1)
    redis_pool: float = assumption(32.0, "", "connections of a server to Redis, at most")
    queue_events: float = count(1_000_000.0, "events in the queue of pushes; the oldest beyond it are lost")
    etcd_members: float = count(3.0, "members of etcd")
    etcd_cores: float = assumption(2.0, "cores", "a member of etcd", minimum=0.1)
    etcd_renewals: float = assumption(10_000.0, "per s", "renewals of leases that etcd handles", minimum=0.1)
    etcd_events: float = assumption(50_000.0, "per s", "events that etcd sends to watchers", minimum=0.1)
    rolling_seconds: float = assumption(3600.0, "s", "time in which all servers are restarted in turn", minimum=0.1)
    s3_cores: float = assumption(4.0, "cores", "a storage server of S3", minimum=0.1)
    s3_terabytes: float = assumption(100.0, "TB", "disk of a storage server of S3", minimum=0.1)
    s3_copies: float = assumption(
        1.5, "", "bytes on disk per byte of a file in S3: erasure coding or copies", minimum=0.1
    )
    s3_megabytes: float = assumption(1000.0, "MB/s", "throughput of a storage server of S3", minimum=0.1)
    core_hour_price: float = assumption(0.04, "", "price of a core with its memory for an hour")
    disk_price: float = assumption(0.10, "per GB and month", "price of the disks of MongoDB")
    s3_price: float = assumption(0.022, "per GB and month", "price of S3, copies included")
    traffic_price: float = assumption(0.02, "per GB", "price of traffic to users")

    def __post_init__(self) -> None:
        check_bounds(self)
