"""Tells of a MongoDB that nobody can write to: a replica set between two primaries, or one that is gone."""

from __future__ import annotations

import structlog
from prometheus_client import Gauge
from pymongo.monitoring import (
    TopologyClosedEvent,
    TopologyDescriptionChangedEvent,
    TopologyListener,
    TopologyOpenedEvent,
)

_writable = Gauge("parley_store_writable", "1 while MongoDB has a primary that this server knows of, else 0")

log = structlog.get_logger("storage")


class PrimaryWatch(TopologyListener):
    """A line and a gauge whenever the last primary is lost, and when there is one again."""

    def __init__(self) -> None:
        self._lost = False

    def opened(self, event: TopologyOpenedEvent) -> None:
        """Nothing is known yet."""

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """What the driver has learned of the servers."""
        writable = event.new_description.has_writable_server()
        had = event.previous_description.has_writable_server()
        _writable.set(writable)
        if had and not writable:
            self._lost = True
            log.warning("MongoDB has no primary")
        elif writable and self._lost:
            self._lost = False
            log.info("MongoDB has a primary again")

    def closed(self, event: TopologyClosedEvent) -> None:
        """The client is closed."""
