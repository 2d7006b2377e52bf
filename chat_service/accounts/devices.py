"""The devices of one account: which are signed in, which are remembered, and how many there may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from chat_service.accounts.errors import DeviceNotFound, TooManyDevices
from chat_service.accounts.refresh_tokens import RefreshChain

# Signed-out devices an account remembers, so that they come back as the same device.
MAX_REMEMBERED_DEVICES = 10
# A device that got no token for so long makes room for a new one, lest lost ones keep their user out for ever.
IDLE_TIMEOUT_MS = 30 * 24 * 3600 * 1000


class Platform(IntEnum):
    """What a device runs; the numbers are the contract's and are stored."""

    UNSPECIFIED = 0
    ANDROID = 1
    IOS = 2
    WEB = 3
    DESKTOP = 4


@dataclass(frozen=True, slots=True)
class DeviceDescription:
    """What a device tells about itself; `device_id` is the one it had before, or empty."""

    name: str = ""
    platform: Platform = Platform.UNSPECIFIED
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of an account, signed in while it has a chain. Times are milliseconds since 1970."""

    device_id: str
    name: str
    platform: Platform
    created_ms: int
    seen_ms: int
    chain: RefreshChain | None


@dataclass(frozen=True, slots=True)
class AccountDevices:
    """All devices of an account as they were at `revision`, by id; revision 0: there were none yet."""

    user_id: str
    revision: int
    by_id: Mapping[str, Device]

    def get(self, device_id: str) -> Device:
        """The device with this id, signed in or not. Raises DeviceNotFound."""
        try:
            return self.by_id[device_id]
        except KeyError:
            raise DeviceNotFound("no such device of this account") from None

    @property
    def active(self) -> tuple[Device, ...]:
        """Those that are signed in, oldest first."""
        active = (each for each in self.by_id.values() if each.chain is not None)
        return tuple(sorted(active, key=lambda each: (each.created_ms, each.device_id)))

    def with_signed_in(self, device: Device, limit: int) -> AccountDevices:
        """With `device` signed in, in place of one that is idle when `limit` others are. Raises TooManyDevices."""
        others = [each for each in self.active if each.device_id != device.device_id]
        if len(others) < limit:
            return self._with(device)
        idle = min(others, key=lambda each: each.seen_ms)
        if device.seen_ms - idle.seen_ms < IDLE_TIMEOUT_MS:
            raise TooManyDevices(f"the account has {limit} devices signed in already; sign one out")
        return self.with_signed_out(idle.device_id).with_signed_in(device, limit)

    def with_chain(self, device_id: str, chain: RefreshChain, now_ms: int) -> AccountDevices:
        """With a device's chain moved on."""
        return self._with(replace(self.get(device_id), chain=chain, seen_ms=now_ms))

    def with_signed_out(self, device_id: str, max_remembered: int = MAX_REMEMBERED_DEVICES) -> AccountDevices:
        """With a device signed out, and only the latest `remembered` such; itself when it is not signed in."""
        device = self.by_id.get(device_id)
        if device is None or device.chain is None:
            return self
        after = self._with(replace(device, chain=None)).by_id.values()
        gone = sorted((each for each in after if each.chain is None), key=lambda each: each.seen_ms)
        forgotten = gone[:-max_remembered]
        return replace(self, by_id={each.device_id: each for each in after if each not in forgotten})

    def with_external_device(self, device: Device, limit: int) -> AccountDevices:
        """With `device` signed in elsewhere; of more than `limit` the oldest are forgotten."""
        known = self._with(device)
        forgotten = known.active[:-limit]
        return replace(self, by_id={key: each for key, each in known.by_id.items() if each not in forgotten})

    def _with(self, device: Device) -> AccountDevices:
        return replace(self, by_id={**self.by_id, device.device_id: device})
