"""The load of each kind of server: cores, writes and bytes that a demand causes by the costs of single events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.capacity.costs import Costs
from bench.capacity.demand import Demand, mean_file_megabytes
from bench.capacity.mesh import direct_frames, group_frames
from bench.capacity.usage_model import UsageModel

US_PER_S: Final = 1e6
MEASURED_SERVERS: Final = 2
"""The chat servers of the benchmark, whose message includes the mesh frames between them."""
RENEWALS_PER_SECOND: Final = 1.0
GIGABYTE: Final = 1e9


@dataclass(frozen=True, slots=True)
class Work:
    """Events of one kind: `rate` per second at the peak, of `microseconds` each."""

    rate: float
    microseconds: float

    @property
    def cores(self) -> float:
        """The cores that the events use."""
        return self.rate * self.microseconds / US_PER_S


Events = Mapping[str, Work]
"""The work of a kind of server, by the name of the cost of one event."""


def sum_cores(events: Events) -> float:
    """Return the cores that `events` use."""
    return sum(work.cores for work in events.values())


def chat_events(demand: Demand, costs: Costs, measured_receipts: float, servers: int) -> Events:
    """Return the events of `servers` chat servers. The measured message includes one delivery and some receipts."""
    return {
        "chat_message": Work(demand.messages, costs.chat_message),
        "chat_delivery": Work(further_frames(demand), costs.chat_delivery),
        "chat_mesh_frame": Work(further_mesh_frames(demand, measured_receipts, servers), costs.chat_mesh_frame),
        "chat_receipt": Work(further_receipts(demand, measured_receipts), costs.chat_receipt),
        "chat_heartbeat": Work(demand.heartbeats, costs.chat_heartbeat),
        "chat_connect": Work(demand.connects, costs.chat_connect),
        "chat_refresh": Work(demand.refreshes, costs.chat_refresh),
        "chat_presence": Work(demand.presence_deliveries, costs.chat_presence),
        "chat_push": Work(demand.pushes, costs.chat_push),
    }


def envoy_events(demand: Demand, costs: Costs, measured_receipts: float) -> Events:
    """Return the events of Envoy."""
    return {
        "envoy_message": Work(demand.messages, costs.envoy_message),
        "envoy_delivery": Work(further_frames(demand), costs.envoy_delivery),
        "envoy_receipt": Work(further_receipts(demand, measured_receipts), costs.envoy_receipt),
        "envoy_heartbeat": Work(demand.heartbeats, costs.envoy_heartbeat),
        "envoy_connect": Work(demand.connects, costs.envoy_connect),
        "envoy_presence": Work(demand.presence_deliveries, costs.envoy_presence),
        "envoy_megabyte": Work(demand.uploaded_megabytes + demand.downloaded_megabytes, costs.envoy_megabyte),
    }


def presence_events(demand: Demand, costs: Costs) -> Events:
    """Return the events of presence."""
    return {
        "presence_change": Work(demand.changes, costs.presence_change),
        "presence_delivery": Work(demand.presence_deliveries, costs.presence_delivery),
    }


def notify_events(demand: Demand, costs: Costs) -> Events:
    """Return the events of notify."""
    return {"notify_push": Work(demand.pushes, costs.notify_push)}


def media_events(demand: Demand, costs: Costs) -> Events:
    """Return the events of media and of the workers that decode pictures."""
    return {
        "media_upload": Work(demand.uploads, costs.media_upload),
        "media_megabyte": Work(demand.uploaded_megabytes, costs.media_megabyte),
        "media_megapixel": Work(demand.megapixels, costs.media_megapixel),
        "media_download": Work(demand.downloads, costs.media_download),
    }


def mongod_events(demand: Demand, costs: Costs, measured_receipts: float) -> Events:
    """Return the events of the primaries of MongoDB."""
    return {
        "mongod_message": Work(demand.messages, costs.mongod_message),
        "mongod_receipt": Work(further_receipts(demand, measured_receipts), costs.mongod_receipt),
        "mongod_connect": Work(demand.connects, costs.mongod_connect),
        "mongod_refresh": Work(demand.refreshes, costs.mongod_refresh),
        "mongod_push": Work(demand.pushes, costs.mongod_push),
        "mongod_upload": Work(demand.uploads, costs.mongod_upload),
        "mongod_last_seen": Work(last_seen_times(demand), costs.mongod_last_seen),
    }


def redis_events(demand: Demand, costs: Costs) -> Events:
    """Return the events of Redis."""
    return {
        "redis_touch": Work(demand.touches, costs.redis_touch),
        "redis_connect": Work(demand.connects, costs.redis_connect),
        "redis_change": Work(demand.changes, costs.redis_change),
        "redis_push": Work(demand.pushes, costs.redis_push),
    }


def further_frames(demand: Demand) -> float:
    """Return the devices that get a message beyond the one that the measured message includes."""
    return max(0.0, demand.frames - demand.messages)


def further_receipts(demand: Demand, measured_receipts: float) -> float:
    """Return the receipt frames beyond those that the measured message includes."""
    return max(0.0, demand.receipts - demand.messages * measured_receipts)


def further_mesh_frames(demand: Demand, measured_receipts: float, servers: int) -> float:
    """Return the mesh frames beyond those that the measured message includes."""
    return max(0.0, mesh_frames(demand, servers) - demand.messages * direct_frames(MEASURED_SERVERS, measured_receipts))


def mesh_frames(demand: Demand, servers: int) -> float:
    """Return the mesh frames per second between `servers` chat servers."""
    direct = demand.messages - demand.group_messages
    # The recipients of a group are equally many in every message of the model.
    recipients = (demand.recipients - direct) / demand.group_messages if demand.group_messages else 0.0
    receipts = demand.receipts / demand.recipients if demand.recipients else 0.0
    in_groups = demand.group_messages * group_frames(servers, recipients, receipts * recipients)
    return direct * direct_frames(servers, receipts) + in_groups


def last_seen_times(demand: Demand) -> float:
    """Return the last-seen times per second: a user leaves the foreground as often as they enter it."""
    return demand.changes / 2


def mongod_writes(demand: Demand) -> float:
    """Return the documents per second: entries, watermarks, refresh tokens, files, and last-seen times."""
    return demand.messages + demand.receipts + demand.refreshes + 3 * demand.uploads + last_seen_times(demand)


def waiting_pushes(usage: UsageModel, demand: Demand) -> float:
    """Return the events that wait in the queue of pushes when the notify servers are back."""
    return demand.pushes * usage.queued_seconds


def redis_gigabytes(usage: UsageModel, demand: Demand, costs: Costs, queue_events: float) -> float:
    """Return the memory of Redis: change index, records of presence, and pushes that wait, at most `queue_events`."""
    index = usage.daily_users * usage.registered_per_daily * usage.conversations_per_user * costs.index_bytes
    records = usage.daily_users * usage.online_share * costs.presence_bytes
    queue = min(waiting_pushes(usage, demand), queue_events) * costs.event_bytes
    return (index + records + queue) / GIGABYTE


def mongo_gigabytes(usage: UsageModel, costs: Costs) -> float:
    """Return the disk of one copy of MongoDB once the history is full."""
    users = usage.daily_users * usage.registered_per_daily * costs.user_bytes * costs.stored_share / GIGABYTE
    return users + mongo_gigabytes_per_day(usage, costs) * usage.history_days


def mongo_gigabytes_per_day(usage: UsageModel, costs: Costs) -> float:
    """Return the disk that the messages of a day take in one copy of MongoDB."""
    per_message = (costs.message_bytes + usage.text_bytes * (1 + costs.word_bytes)) * costs.stored_share
    return usage.daily_users * usage.messages_per_user * per_message / GIGABYTE


def s3_terabytes(usage: UsageModel) -> float:
    """Return the bytes of the files that are kept, without copies."""
    files_per_day = usage.daily_users * usage.messages_per_user * usage.media_share
    return files_per_day * mean_file_megabytes(usage) * usage.media_days / 1e6


def stream_megabytes(usage: UsageModel, demand: Demand, costs: Costs) -> float:
    """Return the megabytes per second between devices and Envoy without files, both directions."""
    message = costs.frame_bytes + usage.text_bytes
    frames = (demand.messages + demand.frames) * message + demand.heartbeats * costs.heartbeat_bytes
    return (frames + (demand.receipts * 2 + demand.presence_deliveries) * costs.frame_bytes) / 1e6


def renewals(servers: int) -> float:
    """Return the renewals of leases per second of `servers` members."""
    return servers * RENEWALS_PER_SECOND
