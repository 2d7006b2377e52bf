"""PresenceService: who is online, for clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from parley.presence.v1 import presence_pb2
from presence_service.model.ports import VisibilityStore
from presence_service.model.presence import Presence
from presence_service.model.visibility import DEFAULT_VISIBILITY
from presence_service.watching.channels import RedisChannels
from presence_service.watching.device_watches import DeviceWatches, WatchUpdate
from presence_service.watching.refresher import PermissionRefresher
from presence_service.watching.watches import Watches
from presence_service.wire.presence import decode_visibility, encode_presences, encode_visibility
from servicekit.clock import Clock
from servicekit.durations import to_duration
from servicekit.rpc import Call

HEARTBEAT_INTERVAL_S: Final = 15.0
# What a watcher may see is decided again at this interval: no chat server tells that somebody wrote to the watcher.
REFRESH_INTERVAL_S: Final = 15.0


class PresenceServicer:
    """Serves presence to the devices of users."""

    def __init__(
        self,
        watches: Watches,
        refresher: PermissionRefresher,
        settings: VisibilityStore,
        channels: RedisChannels,
        devices: DeviceWatches,
        clock: Clock,
    ) -> None:
        self._watches = watches
        self._refresher = refresher
        self._settings = settings
        self._channels = channels
        self._devices = devices
        self._clock = clock

    async def GetPresence(
        self, request: presence_pb2.GetPresenceRequest, call: Call
    ) -> presence_pb2.GetPresenceResponse:
        """Return the present presence of several users."""
        presences = await self._watches.find(call.caller.user_id, request.user_ids)
        return presence_pb2.GetPresenceResponse(
            presences=encode_presences(zip(request.user_ids, presences, strict=True))
        )

    async def WatchPresence(
        self, request: presence_pb2.WatchPresenceRequest, call: Call
    ) -> AsyncIterator[presence_pb2.WatchPresenceResponse]:
        """Stream the presence of several users: the present one, then each change."""
        device, user_ids = self._devices.open(call.caller), list(request.user_ids)
        try:
            watch, presences = await self._watches.start(call.caller.user_id, user_ids, device.tell)
            try:
                device.set_number(await self._channels.publish_watch(call.caller.device_id))
                yield _snapshot(user_ids, presences)
                refreshed_at = self._clock.monotonic()
                while True:
                    yield self._encode(await device.wait(HEARTBEAT_INTERVAL_S))
                    if self._clock.monotonic() - refreshed_at >= REFRESH_INTERVAL_S:
                        refreshed_at = self._clock.monotonic()
                        self._refresher.on_changed(call.caller.user_id, "")
            finally:
                self._watches.end(watch)
        finally:
            self._devices.close(device)

    async def GetVisibility(
        self, request: presence_pb2.GetVisibilityRequest, call: Call
    ) -> presence_pb2.GetVisibilityResponse:
        """Return who may see the caller's presence."""
        del request
        settings = (await self._settings.find_all([call.caller.user_id])).get(call.caller.user_id, DEFAULT_VISIBILITY)
        return presence_pb2.GetVisibilityResponse(visibility=encode_visibility(settings))

    async def SetVisibility(
        self, request: presence_pb2.SetVisibilityRequest, call: Call
    ) -> presence_pb2.SetVisibilityResponse:
        """Set who may see the caller's presence; watchers see the effect at once."""
        online, last_seen = decode_visibility(request.visibility)
        settings = await self._settings.update(call.caller.user_id, online, last_seen)
        await self._channels.publish_permissions(call.caller.user_id)
        return presence_pb2.SetVisibilityResponse(visibility=encode_visibility(settings))

    def _encode(self, update: WatchUpdate) -> presence_pb2.WatchPresenceResponse:
        if update.presences:
            changes = presence_pb2.WatchPresenceResponse.Changes(presences=encode_presences(update.presences.items()))
            return presence_pb2.WatchPresenceResponse(changes=changes)
        if update.draining:
            delay = to_duration(self._devices.choose_delay())
            return presence_pb2.WatchPresenceResponse(drain=presence_pb2.WatchPresenceResponse.Drain(delay=delay))
        return _heartbeat(self._clock.now_ms())


def _snapshot(user_ids: Sequence[str], presences: Sequence[Presence]) -> presence_pb2.WatchPresenceResponse:
    snapshot = presence_pb2.WatchPresenceResponse.Snapshot(
        presences=encode_presences(zip(user_ids, presences, strict=True)),
        heartbeat_interval=Duration(seconds=round(HEARTBEAT_INTERVAL_S)),
    )
    return presence_pb2.WatchPresenceResponse(snapshot=snapshot)


def _heartbeat(now_ms: int) -> presence_pb2.WatchPresenceResponse:
    time = Timestamp()
    time.FromMilliseconds(now_ms)
    return presence_pb2.WatchPresenceResponse(heartbeat=presence_pb2.WatchPresenceResponse.Heartbeat(server_time=time))
