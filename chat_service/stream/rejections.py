"""The counters of what devices sent and this edge rejected: frames, and the sends in them or in calls."""

from __future__ import annotations

from prometheus_client import Counter

from servicekit.failure import Failure

_frames = Counter("parley_frames_rejected", "Frames of devices that this edge rejected, by reason", ["reason"])
_sends = Counter("parley_sends_refused", "Sends that this edge answered with an error, by reason", ["reason"])


def count_rejected_frame(failure: Failure) -> None:
    """Count a frame of a device that is rejected with `failure`."""
    _frames.labels(failure.reason).inc()


def count_refused_send(failure: Failure) -> None:
    """Count a send that is answered with `failure`, after all attempts to append it."""
    _sends.labels(failure.reason).inc()
