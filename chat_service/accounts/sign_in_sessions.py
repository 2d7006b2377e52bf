"""Sign-in sessions: devices sign in, refresh their tokens and sign out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from chat_service.accounts.devices import MAX_REMEMBERED_DEVICES, AccountDevices, Device, DeviceDescription, Platform
from chat_service.accounts.errors import RefreshTokenInvalid
from chat_service.accounts.ports import DeviceStore, HomeOf, OnSignedOut, Signer
from chat_service.accounts.refresh_tokens import RefreshChain, RefreshToken, RefreshTokenReused
from servicekit import audit
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable

T = TypeVar("T")

SIGNED_OUT = "DEVICE_REVOKED"
# Attempts at a change that conflicts with those of other devices of the account.
MAX_UPDATE_ATTEMPTS = 16


@dataclass(frozen=True, slots=True)
class SignInSession:
    """The session of a signed-in device.

    `access_token_expires_at` is in seconds since 1970. `home` is empty if the address of the home is unknown.
    """

    user_id: str
    device_id: str
    access_token: str = field(repr=False)
    access_token_expires_at: float
    refresh_token: str = field(repr=False)
    home: str


class SignInSessions:
    """Signs devices in and out, at most `max_devices` of an account; remembers `max_remembered` signed-out ones."""

    def __init__(
        self,
        store: DeviceStore,
        signer: Signer,
        clock: Clock,
        *,
        home_of: HomeOf,
        on_signed_out: OnSignedOut,
        max_devices: int,
        max_remembered: int = MAX_REMEMBERED_DEVICES,
    ) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._home_of = home_of
        self._on_signed_out = on_signed_out
        self._max_devices = max_devices
        self._max_remembered = max_remembered

    async def sign_in(self, user_id: str, description: DeviceDescription) -> SignInSession:
        """Return a session for a new device, or for the one `description` names.

        Raise DeviceNotFound, TooManyDevices.
        """
        token = await self._update_devices(user_id, lambda devices: self._with_new_sign_in(devices, description))
        return self._session(token)

    async def add_external_device(self, user_id: str, device_id: str) -> None:
        """Add a device that another issuer signed in; beyond `max_devices` the oldest is removed. Idempotent."""

        def add_device(devices: AccountDevices) -> tuple[AccountDevices, bool]:
            if device_id in devices.by_id:
                return devices, False
            now_ms = self._clock.now_ms()
            # The refresh token is discarded: the other issuer refreshes.
            chain, _ = RefreshChain.start(user_id, device_id)
            device = Device(device_id, "", Platform.UNSPECIFIED, now_ms, now_ms, chain)
            return devices.with_external_device(device, self._max_devices), True

        if await self._update_devices(user_id, add_device):
            audit.record_event("device_provisioning", {"user": user_id, "device": device_id})

    async def refresh(self, text: str) -> SignInSession:
        """Return the session with new tokens.

        Raise RefreshTokenInvalid. The reuse of a replaced token signs its device out first.
        """
        presented = RefreshToken.parse(text)
        token = await self._update_devices(presented.user_id, lambda devices: self._rotate(devices, presented))
        if token is None:
            audit.record_event("refresh_token_reuse", {"user": presented.user_id, "device": presented.device_id})
            await self._on_signed_out(presented.user_id, presented.device_id, SIGNED_OUT)
            raise RefreshTokenInvalid("the refresh token was reused after its rotation; the device is signed out")
        return self._session(token)

    async def sign_out(self, user_id: str, device_id: str) -> None:
        """Sign a device out and end its streams. A repeat ends the streams again."""
        await self._update_devices(
            user_id, lambda devices: (devices.with_signed_out(device_id, self._max_remembered), None)
        )
        await self._on_signed_out(user_id, device_id, SIGNED_OUT)

    async def revoke_device(self, user_id: str, device_id: str) -> None:
        """Sign a device out like `sign_out`. Raise DeviceNotFound if the account has no such device."""
        (await self._store.load(user_id)).get(device_id)
        await self.sign_out(user_id, device_id)

    async def sign_out_others(self, user_id: str, device_id: str) -> None:
        """Sign all devices out but one and end their streams, also those of devices signed out before."""
        known = await self._update_devices(
            user_id, lambda devices: (self._sign_out_all_but(devices, device_id), devices.by_id.keys())
        )
        for other_id in known - {device_id}:
            await self._on_signed_out(user_id, other_id, SIGNED_OUT)

    async def list_active(self, user_id: str) -> tuple[Device, ...]:
        """Return the signed-in devices, oldest first."""
        return (await self._store.load(user_id)).active

    async def is_signed_in(self, user_id: str, device_id: str, sign_in: str = "") -> bool | None:
        """Return True if a device is signed in, False if it is signed out, None if the account does not have it.

        Unless `sign_in` is empty, a device that has signed in again since counts as signed out.
        """
        return await self._store.is_signed_in(user_id, device_id, sign_in)

    def _with_new_sign_in(
        self, devices: AccountDevices, description: DeviceDescription
    ) -> tuple[AccountDevices, RefreshToken]:
        now_ms = self._clock.now_ms()
        created_ms = devices.get(description.device_id).created_ms if description.device_id else now_ms
        device_id = description.device_id or uuid.uuid4().hex
        chain, token = RefreshChain.start(devices.user_id, device_id)
        device = Device(device_id, description.name, description.platform, created_ms, now_ms, chain)
        return devices.with_signed_in(device, self._max_devices), token

    def _sign_out_all_but(self, devices: AccountDevices, device_id: str) -> AccountDevices:
        for other in devices.active:
            if other.device_id != device_id:
                devices = devices.with_signed_out(other.device_id, self._max_remembered)
        return devices

    def _rotate(self, devices: AccountDevices, presented: RefreshToken) -> tuple[AccountDevices, RefreshToken | None]:
        """Return the devices after a refresh, and the token to return; None if the presented token was reused."""
        device = devices.by_id.get(presented.device_id)
        if device is None or device.chain is None:
            raise RefreshTokenInvalid("the device is not signed in")
        now_ms = self._clock.now_ms()
        try:
            chain, token = device.chain.rotate(presented, now_ms)
        except RefreshTokenReused:
            return devices.with_signed_out(presented.device_id, self._max_remembered), None
        return devices if chain is device.chain else devices.with_chain(presented.device_id, chain, now_ms), token

    async def _update_devices(self, user_id: str, change: Callable[[AccountDevices], tuple[AccountDevices, T]]) -> T:
        """Apply `change` to the devices, write them, and return its second result.

        Repeat after a conflict. Raise StoreUnavailable after MAX_UPDATE_ATTEMPTS.
        """
        for _ in range(MAX_UPDATE_ATTEMPTS):
            devices = await self._store.load(user_id)
            changed, result = change(devices)
            if changed is devices or await self._store.save_if_unchanged(changed):
                return result
        raise StoreUnavailable("concurrent changes of the account's devices conflict; try again")

    def _session(self, token: RefreshToken) -> SignInSession:
        access_token, expires_at = self._signer.sign(token.user_id, token.device_id, token.sign_in)
        home = self._home_of(token.user_id)
        return SignInSession(token.user_id, token.device_id, access_token, expires_at, str(token), home)
