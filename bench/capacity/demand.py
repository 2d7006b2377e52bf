"""The demand of a usage model: what happens in a second of the peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.capacity.usage_model import UsageModel

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Rates per second at the peak, except `streams`, which are open at once, and `messages_per_day`.

    `recipients` are the members that messages have besides their senders. `deliveries` are those of them who are
    connected, `frames` the devices that a message is sent to, which include the sender's other devices.
    """

    streams: float
    messages: float
    group_messages: float
    recipients: float
    deliveries: float
    frames: float
    receipts: float
    touches: float
    heartbeats: float
    connects: float
    refreshes: float
    changes: float
    presence_deliveries: float
    pushes: float
    uploads: float
    megapixels: float
    uploaded_megabytes: float
    downloads: float
    downloaded_megabytes: float
    messages_per_day: float


def compute_demand(usage: UsageModel) -> Demand:
    """Return the demand of `usage`."""
    per_day = usage.daily_users * usage.messages_per_user
    messages = _peak_rate(usage, usage.messages_per_user)
    recipients = messages * mean_recipients(usage)
    deliveries = recipients * usage.connected_recipients
    streams = usage.daily_users * usage.online_share * usage.devices_per_user
    uploads = messages * usage.media_share
    downloads = uploads * mean_recipients(usage) * usage.downloads_per_recipient
    changes = _peak_rate(usage, usage.changes_per_user)
    return Demand(
        streams=streams,
        messages=messages,
        group_messages=messages * usage.group_share,
        recipients=recipients,
        deliveries=deliveries,
        frames=deliveries * usage.devices_per_user + messages * max(0.0, usage.devices_per_user - 1),
        receipts=deliveries * usage.receipts_per_delivery,
        touches=(recipients + messages) * usage.touched_share,
        heartbeats=streams * _heartbeats_per_stream(usage),
        connects=_peak_rate(usage, usage.connects_per_user),
        refreshes=streams / usage.token_seconds,
        changes=changes,
        presence_deliveries=changes * usage.watchers,
        pushes=recipients * usage.away_recipients * usage.pushes_per_delivery,
        uploads=uploads,
        megapixels=uploads * usage.picture_share * usage.picture_megapixels,
        uploaded_megabytes=uploads * mean_file_megabytes(usage),
        downloads=downloads,
        downloaded_megabytes=downloads * mean_file_megabytes(usage) * usage.downloaded_share,
        messages_per_day=per_day,
    )


def mean_recipients(usage: UsageModel) -> float:
    """Return the recipients of a message: one in a 1-1 conversation, all members but the sender in a group."""
    return 1 - usage.group_share + usage.group_share * (usage.group_size - 1)


def mean_file_megabytes(usage: UsageModel) -> float:
    """Return the mean size of a file."""
    return usage.picture_share * usage.picture_megabytes + (1 - usage.picture_share) * usage.other_megabytes


def _peak_rate(usage: UsageModel, per_user_and_day: float) -> float:
    return usage.daily_users * per_user_and_day / DAY_S * usage.peak_factor


def _heartbeats_per_stream(usage: UsageModel) -> float:
    foreground = usage.foreground_share / usage.foreground_heartbeat_seconds
    return foreground + (1 - usage.foreground_share) / usage.background_heartbeat_seconds
