"""Durations of the contract."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration


def to_duration(seconds: float) -> Duration:
    """Return the duration of `seconds`, which are not negative, in whole milliseconds."""
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration
