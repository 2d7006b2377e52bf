"""The model of the messenger, without a server."""

from __future__ import annotations

from parley_client import Client, FrameRefused, NotAllowed
from parley_client.messenger.model import MessengerModel


async def test_deployment_without_presence_is_not_reported_as_an_error() -> None:
    async with Client() as client:
        model = MessengerModel(client, "the door")
        model._handle_event(
            FrameRefused(NotAllowed("no presence service", code="PERMISSION_DENIED", reason="DISABLED"))
        )
        assert model.notice == ""
        model._handle_event(FrameRefused(NotAllowed("blocked", code="PERMISSION_DENIED", reason="BLOCKED")))
        assert model.notice == "One of you has blocked the other."
