"""The client of the directory: its requests stay within the bounds of the contract, whatever a user has."""

from __future__ import annotations

from typing import Any, cast

from notify_service.wire.directory import DirectoryClient
from parley.internal.v1 import directory_pb2
from servicekit.client import ServiceChannel
from servicekit.validation import check

USER = "a" * 32


class CheckingDirectory:
    """A directory that refuses requests out of bounds; the devices whose ids end with 0 are signed in."""

    def stub(self, make: Any) -> CheckingDirectory:
        return self

    async def CheckDevices(
        self, request: directory_pb2.CheckDevicesRequest, timeout: float
    ) -> directory_pb2.CheckDevicesResponse:
        check(request)
        signed_in = [each for each in request.device_ids if each.endswith("0")]
        return directory_pb2.CheckDevicesResponse(active_device_ids=signed_in)


async def test_user_with_many_tokens_is_asked_for_in_parts() -> None:
    client = DirectoryClient(cast("ServiceChannel", CheckingDirectory()))
    devices = [f"{each:032}" for each in range(1001)]
    assert await client.filter_signed_in(USER, devices) == {each for each in devices if each.endswith("0")}
    assert await client.filter_signed_in(USER, []) == set()
