"""How much is measured: enough for figures in under three minutes, or as little as shows that all of it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Each scene is warmed up for `warm_up` seconds, then measured `repeats` times for `span` seconds.

    `idle` devices are added for each repeat of the idle scene; rates are messages a second.
    """

    warm_up: float = 3.0
    span: float = 10.0
    repeats: int = 2
    pairs: int = 50
    window: int = 4
    group: int = 100
    group_rate: float = 50.0
    latency_rate: float = 200.0
    idle: int = 500


QUICK = Sizes()
TINY = Sizes(warm_up=0.2, span=1.0, pairs=4, group=6, group_rate=10.0, latency_rate=40.0, idle=10)
