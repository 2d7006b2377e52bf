"""The devices of one account, signed in and signed out, and their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from chat_service.accounts.errors import DeviceNotFound, TooManyDevices
from chat_service.accounts.refresh_tokens import RefreshChain

# Signed-out devices an account remembers, so that they sign in again with the same id.
MAX_REMEMBERED_DEVICES = 10
# At the limit a new device replaces one that got no token for this long: lost devices do not lock their user out.
IDLE_TIMEOUT_MS = 30 * 24 * 3600 * 1000


class Platform(IntEnum):
    """The platform of a device. The numbers are those of the protos and are stored."""

    UNSPECIFIED = 0
    ANDROID = 1
    IOS = 2
    WEB = 3
    DESKTOP = 4


@dataclass(frozen=True, slots=True)
class DeviceDescription:
    """A device's description of itself. `device_id` is empty for a new device."""

    name: str = ""
    platform: Platform = Platform.UNSPECIFIED
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of an account, signed in while it has a chain of refresh tokens. Times are milliseconds since 1970."""

    device_id: str
    name: str
    platform: Platform
    created_ms: int
    seen_ms: int
    chain: RefreshChain | None


@dataclass(frozen=True, slots=True)
class AccountDevices:
    """The devices of an account at `revision`, by id; revision 0 is an account that never had one."""

    user_id: str
    revision: int
    by_id: Mapping[str, Device]

    def get(self, device_id: str) -> Device:
        """Return the device with this id, signed in or not. Raise DeviceNotFound."""
        try:
            return self.by_id[device_id]
        except KeyError:
            raise DeviceNotFound("the account has no such device") from None

    @property
    def active(self) -> tuple[Device, ...]:
        """Return the signed-in devices, oldest first."""
        active = (device for device in self.by_id.values() if device.chain is not None)
        return tuple(sorted(active, key=lambda device: (device.created_ms, device.device_id)))

    def with_signed_in(self, device: Device, limit: int) -> AccountDevices:
        """Return the devices with `device` signed in.

        If `limit` others are signed in, the one seen least recently is signed out. Raise TooManyDevices if it was seen
        within IDLE_TIMEOUT_MS.
        """
        others = [other for other in self.active if other.device_id != device.device_id]
        if len(others) < limit:
            return self._with(device)
        idle = min(others, key=lambda other: other.seen_ms)
        if device.seen_ms - idle.seen_ms < IDLE_TIMEOUT_MS:
            raise TooManyDevices(f"the account has {limit} signed-in devices; sign one out")
        return self.with_signed_out(idle.device_id).with_signed_in(device, limit)

    def with_chain(self, device_id: str, chain: RefreshChain, now_ms: int) -> AccountDevices:
        """Return the devices with the token chain of one replaced, and that device seen at `now_ms`."""
        return self._with(replace(self.get(device_id), chain=chain, seen_ms=now_ms))

    def with_signed_out(self, device_id: str, max_remembered: int = MAX_REMEMBERED_DEVICES) -> AccountDevices:
        """Return the devices with `device_id` signed out; unchanged if it is not signed in.

        Of all signed-out devices only the `max_remembered` seen last are kept.
        """
        device = self.by_id.get(device_id)
        if device is None or device.chain is None:
            return self
        changed = self._with(replace(device, chain=None))
        signed_out = sorted(
            (other for other in changed.by_id.values() if other.chain is None), key=lambda other: other.seen_ms
        )
        return _without(changed, signed_out[:-max_remembered])

    def with_external_device(self, device: Device, limit: int) -> AccountDevices:
        """Return the devices with `device`, signed in by another issuer. Beyond `limit` the oldest are removed."""
        changed = self._with(device)
        return _without(changed, changed.active[:-limit])

    def _with(self, device: Device) -> AccountDevices:
        return replace(self, by_id={**self.by_id, device.device_id: device})


def _without(devices: AccountDevices, removed: Sequence[Device]) -> AccountDevices:
    ids = {device.device_id for device in removed}
    return replace(devices, by_id={key: device for key, device in devices.by_id.items() if key not in ids})
