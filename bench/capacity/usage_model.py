"""The usage model: what users do. None of it is measured; every number is an assumption of the deployment."""

from __future__ import annotations

from dataclasses import dataclass

from bench.capacity.assumption import assumption, check_bounds, share


@dataclass(frozen=True, slots=True)
class UsageModel:
    """The behaviour of the users of a deployment. Shares are fractions from 0 to 1, megabytes have 10⁶ bytes."""

    daily_users: float = assumption(50e6, "", "users who use the app on a day", minimum=1)
    registered_per_daily: float = assumption(2.0, "", "registered users per daily user", minimum=1)
    peak_factor: float = assumption(3.0, "", "rate of the busiest minutes, relative to the mean of the day", minimum=1)
    online_share: float = share(0.2, "share of the daily users who are connected at the peak")
    devices_per_user: float = assumption(1.3, "", "connected devices per connected user")
    foreground_share: float = share(0.3, "share of the connected devices in the foreground")
    messages_per_user: float = assumption(40.0, "per day", "messages that a daily user sends", minimum=1e-3)
    text_bytes: float = assumption(100.0, "bytes", "text of a message")
    group_share: float = share(0.4, "share of the messages that are sent to groups")
    group_size: float = assumption(12.0, "", "members of a group, mean over messages", minimum=2)
    connected_recipients: float = share(0.5, "share of the recipients who are connected when a message comes")
    away_recipients: float = share(0.7, "share of the recipients without a device in the foreground")
    pushes_per_delivery: float = assumption(
        0.7, "", "pushes per recipient who is away: fewer if some mute, more if what they read is withdrawn"
    )
    receipts_per_delivery: float = assumption(0.5, "", "receipt frames per recipient's delivery, once coalesced")
    touched_share: float = share(0.8, "share of the recipients whose change index is touched by a message")
    connects_per_user: float = assumption(20.0, "per day", "streams that a daily user opens")
    token_seconds: float = assumption(
        600.0, "s", "lifetime of an access token, after which a stream needs another", minimum=1
    )
    foreground_heartbeat_seconds: float = assumption(4.0, "s", "interval of heartbeats in the foreground", minimum=1)
    background_heartbeat_seconds: float = assumption(60.0, "s", "interval of heartbeats in the background", minimum=1)
    changes_per_user: float = assumption(60.0, "per day", "changes of the presence of a daily user")
    watchers: float = assumption(4.0, "", "connected users who are told a change of presence")
    media_share: float = share(0.1, "share of the messages with a new file")
    picture_share: float = share(0.85, "share of the files that are pictures")
    picture_megabytes: float = assumption(0.6, "MB", "a picture as it is sent")
    picture_megapixels: float = assumption(3.0, "megapixels", "a picture as it is sent")
    other_megabytes: float = assumption(5.0, "MB", "any other file")
    downloads_per_recipient: float = assumption(0.5, "", "downloads of a file per recipient")
    downloaded_share: float = share(0.6, "share of a file's bytes in a download: previews are smaller")
    history_days: float = assumption(365.0, "days", "time for which messages are kept")
    media_days: float = assumption(180.0, "days", "time for which files are kept")
    conversations_per_user: float = assumption(60.0, "", "conversations of a registered user in the change index")
    queued_seconds: float = assumption(60.0, "s", "time at the peak in which no notify server runs, and pushes wait")

    def __post_init__(self) -> None:
        check_bounds(self)
