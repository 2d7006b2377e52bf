"""Durations and times of the contract."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def to_duration(seconds: float) -> Duration:
    """Return the duration of `seconds`, which are not negative, in whole milliseconds."""
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration


def to_timestamp(ms: int) -> Timestamp:
    """Return the timestamp of a time in milliseconds since 1970."""
    timestamp = Timestamp()
    timestamp.FromMilliseconds(ms)
    return timestamp
