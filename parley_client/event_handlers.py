"""The functions that an application registers for the events of a device, and the views that the events update."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from parley_client.errors import ParleyError
from parley_client.events import CaughtUp, EntryReceived, Event
from parley_client.live_view import LiveView
from parley_client.message import Message

E = TypeVar("E")
H = TypeVar("H", bound=Awaitable[None] | None)


class EventHandlers:
    """The handlers and views of one device of `user_id`. An event goes to its view first, then to the handlers."""

    def __init__(self, user_id: str, views: Mapping[str, LiveView]) -> None:
        self._user_id = user_id
        self._views = views
        self._handlers: list[tuple[type[Any], Callable[[Any], Awaitable[None] | None]]] = []

    def add(self, kind: type[E], handler: Callable[[E], H]) -> Callable[[E], H]:
        """Call `handler` with each event of the class `kind`; return it."""
        self._handlers.append((kind, handler))
        return handler

    def add_for_messages(self, handler: Callable[[Message], H]) -> Callable[[Message], H]:
        """Call `handler` with each message of another user; return it."""

        def handle_entry(event: EntryReceived) -> Awaitable[None] | None:
            message = event.message
            return handler(message) if message is not None and message.actor_id != self._user_id else None

        self._handlers.append((EntryReceived, handle_entry))
        return handler

    async def handle(self, event: Event) -> None:
        """Update the views, then call the handlers one after the other, in the order in which they were added."""
        await self._update_views(event)
        for kind, handler in self._handlers:
            if isinstance(event, kind) and (result := handler(event)) is not None:
                await result

    async def _update_views(self, event: Event) -> None:
        to_load = [each for each in self._views.values() if each.is_stale] if isinstance(event, CaughtUp) else []
        view = self._views.get(getattr(event, "conversation_id", ""))
        if view is not None:
            was_stale = view.is_stale
            view.apply(event)
            to_load = [view] if view.is_stale and not was_stale else []
        for each in to_load:
            # A view that cannot be loaded now stays stale until the device has caught up again.
            with suppress(ParleyError):
                await each.load()
