"""Presence: which users are online, and who may see it of the signed-in user."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable

from parley.presence.v1 import presence_pb2
from parley_client.calls import AuthenticatedCalls
from parley_client.channel import Channel
from parley_client.door import Door
from parley_client.errors import ParleyError
from parley_client.presence_state import Audience, UserPresence, Visibility
from parley_client.presence_watch import PresenceWatch
from parley_client.tokens import TokenSource

# The server answers for at most so many users in one call.
MAX_USERS = 1000


class Presence:
    """The presence of users as the signed-in user may see it, and who may see that user's own.

    Every method raises ParleyError. A user who does not show it, or does not exist, looks offline.
    """

    def __init__(self, calls: AuthenticatedCalls, tokens: TokenSource, door: Door, retry_timeout_s: float) -> None:
        self._calls = calls
        self._tokens = tokens
        self._door = door
        self._retry_timeout_s = retry_timeout_s

    async def get(self, user_ids: Iterable[str]) -> dict[str, UserPresence]:
        """Return the present presence of users by their ids, in the order of `user_ids`."""
        unique_ids = list(dict.fromkeys(user_ids))
        found: dict[str, UserPresence] = {}
        for start in range(0, len(unique_ids), MAX_USERS):
            request = presence_pb2.GetPresenceRequest(user_ids=unique_ids[start : start + MAX_USERS])
            response = await self._calls.call(lambda channel: channel.presence.GetPresence, request)
            found |= {each.user_id: UserPresence.from_proto(each) for each in response.presences}
        return found

    def watch(
        self,
        user_ids: Iterable[str],
        *,
        on_connection_change: Callable[[ParleyError | None], None] = lambda _: None,
    ) -> AsyncGenerator[UserPresence, None]:
        """Yield the presence of 1 to 1,000 users, then each change, without an end.

        Unlike `Device.watch_presence` it needs no open device, and does not make the user appear online. A device has
        one watch: the watch of another program with the same session ends with Superseded. If the connection is lost
        after the first presence, `on_connection_change` is called with the error and, once it is back, with None;
        the watch then yields what changed meanwhile. Before the first presence, errors are raised as those of calls.
        """
        unique_ids = list(dict.fromkeys(user_ids))
        # A channel of its own: one that does not respond is closed, which must not end the streams of others.
        watch = PresenceWatch(
            Channel(self._door), self._tokens, unique_ids, self._retry_timeout_s, on_connection_change
        )
        return watch.run()

    async def get_visibility(self) -> Visibility:
        """Return who may see the presence of the signed-in user."""
        request = presence_pb2.GetVisibilityRequest()
        response = await self._calls.call(lambda channel: channel.presence.GetVisibility, request)
        return Visibility.from_proto(response.visibility)

    async def set_visibility(self, *, online: Audience | None = None, last_seen: Audience | None = None) -> Visibility:
        """Change who may see the presence of the signed-in user; a part that is None or UNKNOWN keeps its value."""
        visibility = presence_pb2.Visibility(
            online=(online or Audience.UNKNOWN).value, last_seen=(last_seen or Audience.UNKNOWN).value
        )
        request = presence_pb2.SetVisibilityRequest(visibility=visibility)
        response = await self._calls.call(lambda channel: channel.presence.SetVisibility, request)
        return Visibility.from_proto(response.visibility)
