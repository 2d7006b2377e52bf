"""The admission of devices: one that was signed out is refused, though its token has not expired yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from cachetools import TTLCache

from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.errors import Unauthenticated

# A device that is signed out is refused at the latest after this time.
PERMISSION_LIFETIME_S: Final = 5.0
MAX_DEVICES: Final = 100_000

IsSignedIn = Callable[[str, str], Awaitable[bool]]
"""Returns whether a device of a user is signed in. Raises StoreUnavailable and ServiceUnavailable."""


class DeviceAdmission:
    """Admits the devices that are signed in. An admission holds for PERMISSION_LIFETIME_S, a refusal is not kept."""

    def __init__(self, is_signed_in: IsSignedIn, clock: Clock) -> None:
        self._is_signed_in = is_signed_in
        self._admitted: TTLCache[str, bool] = TTLCache(MAX_DEVICES, PERMISSION_LIFETIME_S, timer=clock.monotonic)

    async def admit(self, claims: Claims) -> None:
        """Raise Unauthenticated DEVICE_REVOKED if the device is signed out. Raise StoreUnavailable."""
        key = f"{claims.user_id} {claims.device_id}"
        if key in self._admitted:
            return
        if not await self._is_signed_in(claims.user_id, claims.device_id):
            raise Unauthenticated("this device was signed out", reason="DEVICE_REVOKED")
        self._admitted[key] = True
