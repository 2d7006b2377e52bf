"""An account has a bounded number of signed-in devices and remembers some that are signed out."""

from dataclasses import replace

import pytest

from chat_service.accounts.devices import IDLE_TIMEOUT_MS, MAX_REMEMBERED_DEVICES, AccountDevices, Device, Platform
from chat_service.accounts.errors import DeviceNotFound, TooManyDevices
from chat_service.accounts.refresh_tokens import RefreshChain
from parley.chat.v1 import account_pb2

USER = "a" * 32


def device(number: int) -> Device:
    device_id = f"{number:032x}"
    chain, _ = RefreshChain.start(USER, device_id)
    return Device(device_id, f"phone {number}", Platform.ANDROID, number, number, chain)


def signed_in(*numbers: int, limit: int = 10) -> AccountDevices:
    devices = AccountDevices(USER, 0, {})
    for number in numbers:
        devices = devices.with_signed_in(device(number), limit)
    return devices


def test_device_beyond_limit_is_refused() -> None:
    with pytest.raises(TooManyDevices):
        signed_in(1, 2, 3, limit=2)


def test_idle_device_is_signed_out_for_new_one() -> None:
    crowded = signed_in(1, 2, limit=2)
    late = replace(device(3), seen_ms=IDLE_TIMEOUT_MS)
    with pytest.raises(TooManyDevices):
        crowded.with_signed_in(late, 2)
    after = crowded.with_signed_in(replace(late, seen_ms=IDLE_TIMEOUT_MS + 1), 2)
    assert [each.created_ms for each in after.active] == [2, 3]
    assert after.get(device(1).device_id).chain is None, "the idle device keeps its id for a later sign-in"


def test_external_device_replaces_the_oldest() -> None:
    devices = AccountDevices(USER, 0, {})
    for number in (1, 2, 3):
        devices = devices.with_external_device(device(number), 2)
    assert [each.created_ms for each in devices.active] == [2, 3]
    assert len(devices.by_id) == 2


def test_known_device_is_counted_once() -> None:
    assert len(signed_in(1, 2, 2, limit=2).by_id) == 2


def test_signed_out_device_frees_a_slot_and_is_remembered() -> None:
    devices = signed_in(1, 2, limit=2).with_signed_out(device(1).device_id)
    assert devices.get(device(1).device_id).chain is None
    assert len(devices.with_signed_in(device(3), 2).by_id) == 3


def test_repeated_sign_out_changes_nothing() -> None:
    devices = signed_in(1).with_signed_out(device(1).device_id)
    assert devices.with_signed_out(device(1).device_id) is devices
    assert devices.with_signed_out("f" * 32) is devices


def test_latest_signed_out_devices_are_remembered() -> None:
    devices = signed_in(99)
    for number in range(MAX_REMEMBERED_DEVICES + 5):
        devices = devices.with_signed_in(device(number), 10).with_signed_out(device(number).device_id)
    assert {each.created_ms for each in devices.by_id.values()} == {99, *range(5, MAX_REMEMBERED_DEVICES + 5)}


def test_unknown_device_is_not_found() -> None:
    with pytest.raises(DeviceNotFound):
        signed_in(1).get("f" * 32)


def test_platforms_are_numbered_as_in_the_contract() -> None:
    contract = {name.removeprefix("PLATFORM_"): number for name, number in account_pb2.Platform.items()}
    assert contract == {each.name: each.value for each in Platform}
