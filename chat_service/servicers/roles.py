"""What the calls of chat are served from."""

from __future__ import annotations

from dataclasses import dataclass

from chat_service.history.history import History
from chat_service.history.search import MessageSearch
from chat_service.limits import Limits
from chat_service.mesh.homes import HomeRouter
from chat_service.mesh.owners import OwnerRouter
from chat_service.mesh.streams import StreamRouter
from chat_service.personal.personal import PersonalSettingsService
from chat_service.stream.edge import Edge
from chat_service.stream.rates import DeviceRates
from servicekit.clock import Clock


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The roles of this server, and the ways to those of others."""

    edge: Edge
    homes: HomeRouter
    streams: StreamRouter
    owners: OwnerRouter
    history: History
    personal: PersonalSettingsService
    # None: this deployment has no search.
    search: MessageSearch | None
    rates: DeviceRates
    limits: Limits
    clock: Clock
