"""The workload of pictures: the cost of a photo, from its upload to thumbnail, preview and placeholder."""

from __future__ import annotations

import math
import time
from functools import partial
from statistics import median
from typing import Final

from bench.figures import Figure, Sample, combine_repeats
from bench.load.device import DeviceIdentity
from bench.measurement import Measurement
from bench.media.content import make_photo
from bench.media.streams import CHUNK_BYTES, MediaCaller

_MEGAPIXEL: Final = 1_000_000
_MEGABYTE: Final = 1_000_000


def pictures(measurement: Measurement) -> list[Figure]:
    """Measure uploads of one photo by several users, one after the other."""
    sizes, environment = measurement.sizes, measurement.environment
    height = math.isqrt(sizes.megapixels * _MEGAPIXEL * 3 // 4)
    photo = make_photo(height * 4 // 3, height)
    workload = f"JPEG pictures of {sizes.megapixels} megapixels and {len(photo) / _MEGABYTE:.1f} MB, one at a time"
    measurement.print_text(workload)
    # The first picture starts a worker. A user who sends a picture again would have it processed once.
    _send(environment.door, environment.users.create_users(1), photo)
    repeats = []
    for repeat in range(1, sizes.repeats + 1):
        users = environment.users.create_users(sizes.pictures)
        seconds, used = measurement.measure_work(partial(_send, environment.door, users, photo))
        costs = {kind: used.cpu_by_kind[kind] * 1000 / sizes.pictures for kind in ("workers", "media")}
        repeats.append(
            [
                Sample("worker CPU", "ms/picture", costs["workers"]),
                Sample("media CPU", "ms/picture", costs["media"]),
                Sample("median until ready", "ms", median(seconds) * 1000),
            ]
        )
        measurement.print_repeat(workload, repeat, repeats[-1])
    return combine_repeats(workload, repeats)


def _send(door: str, users: list[DeviceIdentity], photo: bytes) -> list[float]:
    """Return the seconds that each upload takes."""
    chunks = [photo[start : start + CHUNK_BYTES] for start in range(0, len(photo), CHUNK_BYTES)]
    seconds = []
    for user in users:
        with MediaCaller(door, user) as caller:
            started_at = time.monotonic()
            caller.upload(chunks)
            seconds.append(time.monotonic() - started_at)
    return seconds
