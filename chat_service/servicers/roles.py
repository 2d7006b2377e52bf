"""What the calls of chat are served from."""

from __future__ import annotations

from dataclasses import dataclass

from chat_service.history.history import History
from chat_service.history.search import Search
from chat_service.limits import Limits
from chat_service.mesh.homes import Homes
from chat_service.mesh.owners import Owners
from chat_service.mesh.streams import Streams
from chat_service.personal.personal import PersonalViews
from chat_service.stream.edge import Edge
from chat_service.stream.rates import DeviceRates
from servicekit.clock import Clock


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of this server, and the ways to those of others."""

    edge: Edge
    homes: Homes
    streams: Streams
    owners: Owners
    history: History
    personal: PersonalViews
    # None: this deployment has no search.
    search: Search | None
    rates: DeviceRates
    limits: Limits
    clock: Clock
