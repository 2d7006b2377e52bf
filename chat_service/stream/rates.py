"""How fast each device may do something, whichever of its streams or calls it uses."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from servicekit.bucket import TokenBucket
from servicekit.clock import Clock

DEVICES: Final = 100_000


class DeviceRates:
    """A bucket for each device that was here lately; who was forgotten begins with a full one."""

    def __init__(self, per_second: float, burst: float, clock: Clock) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def bucket_of(self, device_id: str) -> TokenBucket:
        """The bucket of a device."""
        bucket = self._buckets.get(device_id)
        if bucket is None:
            bucket = TokenBucket(self._per_second, self._burst, self._clock)
            self._buckets[device_id] = bucket
            if len(self._buckets) > DEVICES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(device_id)
        return bucket
