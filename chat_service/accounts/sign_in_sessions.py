"""Sessions: how a device signs in, keeps its tokens fresh, and signs out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chat_service.accounts.devices import MAX_REMEMBERED_DEVICES, AccountDevices, Device, DeviceDescription, Platform
from chat_service.accounts.errors import RefreshTokenInvalid
from chat_service.accounts.ports import DeviceStore, HomeOf, OnSignedOut, Signer
from chat_service.accounts.refresh_tokens import RefreshChain, RefreshToken, RefreshTokenReused
from chat_service.errors import StoreUnavailable
from servicekit.clock import Clock

T = TypeVar("T")

SIGNED_OUT = "DEVICE_REVOKED"
# How often a change is tried again because another device of the account changed something meanwhile.
MAX_UPDATE_ATTEMPTS = 16


@dataclass(frozen=True, slots=True)
class SignInSession:
    """What a signed-in device holds. `access_token_expires_at` is in seconds since 1970; `home` may be empty."""

    user_id: str
    device_id: str
    access_token: str
    access_token_expires_at: float
    refresh_token: str
    home: str


class SignInSessions:
    """Signs the devices of accounts in and out; at most `max_devices` of an account are signed in."""

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
        """A session for a new device, or for the one `description` names. Raises DeviceNotFound, TooManyDevices."""
        token = await self._update_devices(user_id, lambda devices: self._with_new_sign_in(devices, description))
        return self._session(token)

    async def add_external_device(self, user_id: str, device_id: str) -> None:
        """Remembers a device that another issuer signed in; of more than may be, the one met first is forgotten."""

        def met(devices: AccountDevices) -> tuple[AccountDevices, None]:
            if device_id in devices.by_id:
                return devices, None
            now_ms = self._clock.now_ms()
            # Nobody is told its token.
            chain, _ = RefreshChain.start(user_id, device_id)
            device = Device(device_id, "", Platform.UNSPECIFIED, now_ms, now_ms, chain)
            return devices.with_external_device(device, self._max_devices), None

        await self._update_devices(user_id, met)

    async def refresh(self, text: str) -> SignInSession:
        """The session with new tokens. Raises RefreshTokenInvalid, once the device is signed out for a reused one."""
        shown = RefreshToken.parse(text)
        token = await self._update_devices(shown.user_id, lambda devices: self._rotate(devices, shown))
        if token is None:
            await self._on_signed_out(shown.user_id, shown.device_id, SIGNED_OUT)
            raise RefreshTokenInvalid("the refresh token was used up; the device is signed out")
        return self._session(token)

    async def sign_out(self, user_id: str, device_id: str) -> None:
        """Signs a device out and ends its streams; signing out again ends them again."""
        await self._update_devices(
            user_id, lambda devices: (devices.with_signed_out(device_id, self._max_remembered), None)
        )
        await self._on_signed_out(user_id, device_id, SIGNED_OUT)

    async def revoke_device(self, user_id: str, device_id: str) -> None:
        """Signs a device out as `sign_out` does. Raises DeviceNotFound when the account has none such."""
        (await self._store.load(user_id)).get(device_id)
        await self.sign_out(user_id, device_id)

    async def sign_out_others(self, user_id: str, device_id: str) -> None:
        """Signs all devices out but one; again ends the streams again, also of those signed out before."""
        known = await self._update_devices(
            user_id, lambda devices: (self._sign_out_all_but(devices, device_id), devices.by_id.keys())
        )
        for each in known - {device_id}:
            await self._on_signed_out(user_id, each, SIGNED_OUT)

    async def list_active(self, user_id: str) -> tuple[Device, ...]:
        """The devices that are signed in, oldest first."""
        return (await self._store.load(user_id)).active

    async def is_signed_in(self, user_id: str, device_id: str, sign_in: str = "") -> bool | None:
        """Whether a device is signed in, by this sign-in if one is named; None when the account has no such device."""
        return await self._store.is_signed_in(user_id, device_id, sign_in)

    def _with_new_sign_in(
        self, devices: AccountDevices, told: DeviceDescription
    ) -> tuple[AccountDevices, RefreshToken]:
        now_ms = self._clock.now_ms()
        created_ms = devices.get(told.device_id).created_ms if told.device_id else now_ms
        device_id = told.device_id or uuid.uuid4().hex
        chain, token = RefreshChain.start(devices.user_id, device_id)
        device = Device(device_id, told.name, told.platform, created_ms, now_ms, chain)
        return devices.with_signed_in(device, self._max_devices), token

    def _sign_out_all_but(self, devices: AccountDevices, device_id: str) -> AccountDevices:
        for each in devices.active:
            if each.device_id != device_id:
                devices = devices.with_signed_out(each.device_id, self._max_remembered)
        return devices

    def _rotate(self, devices: AccountDevices, shown: RefreshToken) -> tuple[AccountDevices, RefreshToken | None]:
        """The devices after `shown` was shown, and what to answer with; None for a reused token."""
        device = devices.by_id.get(shown.device_id)
        if device is None or device.chain is None:
            raise RefreshTokenInvalid("the device is not signed in")
        now_ms = self._clock.now_ms()
        try:
            chain, token = device.chain.rotate(shown, now_ms)
        except RefreshTokenReused:
            return devices.with_signed_out(shown.device_id, self._max_remembered), None
        return devices if chain is device.chain else devices.with_chain(shown.device_id, chain, now_ms), token

    async def _update_devices(self, user_id: str, change: Callable[[AccountDevices], tuple[AccountDevices, T]]) -> T:
        """What `change` made besides the devices, once these are kept; it runs again when they were not the latest."""
        for _ in range(MAX_UPDATE_ATTEMPTS):
            devices = await self._store.load(user_id)
            changed, made = change(devices)
            if changed is devices or await self._store.save_if_unchanged(changed):
                return made
        raise StoreUnavailable("the devices of the account change faster than they can be written")

    def _session(self, token: RefreshToken) -> SignInSession:
        access_token, expires_at = self._signer.sign(token.user_id, token.device_id, token.sign_in)
        home = self._home_of(token.user_id)
        return SignInSession(token.user_id, token.device_id, access_token, expires_at, str(token), home)
