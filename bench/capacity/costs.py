"""The costs of single events: measured by `make bench-quick` where it has a figure, and assumed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from bench.capacity.assumption import assumption, check_bounds, parameters, share
from bench.capacity.measured_costs import measure_costs
from bench.results import Result


class CostSource(Enum):
    """The source of a cost: a result of the benchmark, the default of the model, or an option of the command."""

    MEASURED = "measured"
    ASSUMED = "assumed"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of single events: CPU in microseconds unless the unit says otherwise.

    The defaults are assumptions. `measure_costs` replaces those that a result has a figure of.
    """

    chat_message: float = assumption(500.0, "µs", "chat, a durable 1-1 message with its delivery and receipts")
    chat_delivery: float = assumption(100.0, "µs", "chat, another device that a message is delivered to")
    chat_mesh_frame: float = assumption(200.0, "µs", "chat, a mesh frame at both ends, if none shares a write")
    chat_receipt: float = assumption(150.0, "µs", "chat, a receipt frame beyond those of the measured message")
    chat_heartbeat: float = assumption(40.0, "µs", "chat, a heartbeat")
    chat_connect: float = assumption(3000.0, "µs", "chat, a stream from hello to caught up")
    chat_refresh: float = assumption(800.0, "µs", "chat, a refresh of a token and the new one's frame on the stream")
    chat_presence: float = assumption(50.0, "µs", "chat, a presence told to a watcher, with the change's share")
    chat_push: float = assumption(300.0, "µs", "chat, a push: its event, and the context of the notification")
    chat_stream_kib: float = assumption(46.0, "KiB", "chat, memory of a stream")
    envoy_message: float = assumption(70.0, "µs", "Envoy, a 1-1 message with its delivery and receipts")
    envoy_delivery: float = assumption(30.0, "µs", "Envoy, another device that a message is delivered to")
    envoy_receipt: float = assumption(30.0, "µs", "Envoy, a receipt frame beyond those of the measured message")
    envoy_heartbeat: float = assumption(25.0, "µs", "Envoy, a heartbeat")
    envoy_connect: float = assumption(2000.0, "µs", "Envoy, a connection: TLS handshake, token, route")
    envoy_presence: float = assumption(20.0, "µs", "Envoy, a presence told to a watcher")
    envoy_megabyte: float = assumption(3000.0, "µs", "Envoy, a megabyte of a file on the listener of media, with TLS")
    envoy_stream_kib: float = assumption(54.0, "KiB", "Envoy, memory of a connection without TLS")
    envoy_tls_kib: float = assumption(40.0, "KiB", "Envoy, memory that TLS adds to a connection")
    mongod_message: float = assumption(180.0, "µs", "mongod, a durable message with its watermarks")
    mongod_receipt: float = assumption(100.0, "µs", "mongod, watermarks of a receipt beyond those of the message")
    mongod_connect: float = assumption(600.0, "µs", "mongod, the reads of a stream that connects, batched")
    mongod_refresh: float = assumption(500.0, "µs", "mongod, a refresh of a token: a read and a write")
    mongod_push: float = assumption(150.0, "µs", "mongod, the reads of a push")
    mongod_upload: float = assumption(2000.0, "µs", "mongod, the records and the claim of a file")
    mongod_last_seen: float = assumption(30.0, "µs", "mongod, a last-seen time, written with others")
    redis_touch: float = assumption(8.0, "µs", "Redis, a touch of the change index")
    redis_connect: float = assumption(15.0, "µs", "Redis, a read of the change index")
    redis_change: float = assumption(60.0, "µs", "Redis, a transition of presence: script and publication")
    redis_lease: float = assumption(0.5, "µs", "Redis, a lease of a chat server that a presence server reads")
    redis_push: float = assumption(60.0, "µs", "Redis, a push: queued, read, recorded, acknowledged")
    presence_change: float = assumption(250.0, "µs", "presence, a transition")
    presence_delivery: float = assumption(40.0, "µs", "presence, a presence told to a watcher")
    notify_push: float = assumption(1500.0, "µs", "notify, a push to a provider")
    media_upload: float = assumption(5000.0, "µs", "media, the calls around a file: create, complete, claim")
    media_megabyte: float = assumption(3000.0, "µs", "media, a megabyte that is read for its digest and metadata")
    media_megapixel: float = assumption(20_000.0, "µs", "media workers, a megapixel: decoding and smaller pictures")
    media_download: float = assumption(1200.0, "µs", "media, the address of a download, with the question to chat")
    message_bytes: float = assumption(350.0, "bytes", "a message in MongoDB without its text: entry and indexes")
    word_bytes: float = assumption(2.0, "", "bytes of the index of words per byte of text; 0 without search")
    stored_share: float = share(0.6, "bytes on disk per byte of a document, after compression")
    user_bytes: float = assumption(8000.0, "bytes", "a registered user in MongoDB: account, devices, memberships")
    index_bytes: float = assumption(110.0, "bytes", "a conversation of a user in the change index")
    presence_bytes: float = assumption(500.0, "bytes", "the record of a connected user in Redis")
    event_bytes: float = assumption(700.0, "bytes", "a push in the queue of Redis")
    frame_bytes: float = assumption(350.0, "bytes", "a message on a stream without its text")
    heartbeat_bytes: float = assumption(120.0, "bytes", "a heartbeat and what it costs below HTTP/2, both directions")

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class SourcedCosts:
    """Costs, with the source of each by name, and the result that the measured ones come from."""

    costs: Costs
    sources: Mapping[str, CostSource]
    result: Result | None

    def source(self, name: str) -> CostSource:
        """Return the source of a cost."""
        return self.sources.get(name, CostSource.ASSUMED)


def choose_costs(result: Result | None, given: Mapping[str, float]) -> SourcedCosts:
    """Return the costs of a result of the benchmark, if any, with those that are given instead."""
    measured = measure_costs(result.figures) if result else {}
    values: dict[str, Any] = {**measured, **given}
    sources = dict.fromkeys(measured, CostSource.MEASURED) | dict.fromkeys(given, CostSource.GIVEN)
    assert sources.keys() <= {each.name for each in parameters(Costs)}
    return SourcedCosts(replace(Costs(), **values), sources, result)
