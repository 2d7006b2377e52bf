"""The devices that are signed in: a token of another one is removed when it is met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cachetools import TTLCache

from notify_service.model.ports import Directory, TokenStore
from notify_service.model.registration import Registration
from servicekit.clock import Clock

# A device that is signed out gets no push at the latest after this time.
LIFETIME_S: Final = 5.0
MAX_DEVICES: Final = 100_000


class SignedInDevices:
    """Separates registrations of devices that are signed in from the others, which it removes.

    Where another issuer signs users in, the devices are not known before they connect to chat, and all count as signed
    in: `directory` is None.
    """

    def __init__(self, directory: Directory | None, tokens: TokenStore, clock: Clock) -> None:
        self._directory = directory
        self._tokens = tokens
        self._signed_in: TTLCache[tuple[str, str], bool] = TTLCache(MAX_DEVICES, LIFETIME_S, timer=clock.monotonic)

    async def separate(self, registrations: Sequence[Registration]) -> tuple[list[Registration], list[Registration]]:
        """Return the registrations of one user whose devices are signed in, and the others.

        Raise StoreUnavailable, ServiceUnavailable.
        """
        await self._load(registrations)
        present = [each for each in registrations if self._is_signed_in(each)]
        gone = [each for each in registrations if each not in present]
        for registration in gone:
            await self._tokens.delete_token(registration)
        return present, gone

    async def _load(self, registrations: Sequence[Registration]) -> None:
        unknown = [each for each in registrations if not self._is_signed_in(each)]
        if self._directory is None or not unknown:
            return
        user_id = unknown[0].user_id
        for device_id in await self._directory.filter_signed_in(user_id, [each.device_id for each in unknown]):
            self._signed_in[user_id, device_id] = True

    def _is_signed_in(self, registration: Registration) -> bool:
        return self._directory is None or (registration.user_id, registration.device_id) in self._signed_in
