"""A user who signs up, signs in and changes the password again and again, sometimes with a wrong one, during faults."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from random import Random
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from parley.chat.v1 import account_pb2
from tests.faults.canaries import DEVICE_NAME, DISPLAY_NAME, PASSWORD
from tests.faults.retries import LATER
from tests.raw import calls
from tests.raw.refusal import of_error
from tests.raw.stream import Metadata
from tests.raw.world import World

# The pause between two of them, in seconds: each hashes a password, which costs a fifth of a second of a processor.
PAUSES: Final = (2.0, 5.0)
CALL_S: Final = 5.0
# What a wrong password and the limit of sign-ins are refused with.
EXPECTED: Final = ("UNAUTHENTICATED", "ALREADY_EXISTS", *LATER)


class SignUps:
    """Signs up through the door; `tokens` has what it was given, and `errors` what it should not have been told."""

    def __init__(self, world: World, random: Random) -> None:
        self.tokens: list[str] = []
        self.errors: list[str] = []
        self._channel = world.channel(world.stack.door)
        self._random = random

    async def work(self, is_running: Callable[[], bool]) -> None:
        """Sign up users while `is_running` returns true."""
        while is_running():
            await asyncio.sleep(self._random.uniform(*PAUSES))
            await self._live()

    async def _live(self) -> None:
        name = f"newcomer-{uuid.uuid4().hex[:8]}"
        device = account_pb2.DeviceDescription(name=DEVICE_NAME)
        register = account_pb2.RegisterRequest(
            login_name=name, password=PASSWORD, display_name=DISPLAY_NAME, device=device
        )
        registered = await self._ask(register)
        if registered is None:
            return
        bearer = (("authorization", f"Bearer {registered.session.access_token}"),)
        self._keep(registered.session)
        await self._ask(account_pb2.LoginRequest(login_name=name, password=f"{PASSWORD} mistyped", device=device))
        change = account_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password=f"{PASSWORD} changed")
        await self._ask(change, bearer)
        refresh = account_pb2.RefreshTokenRequest(refresh_token=registered.session.refresh_token)
        if (refreshed := await self._ask(refresh)) is not None:
            self._keep(refreshed.session)

    def _keep(self, session: account_pb2.Session) -> None:
        self.tokens += [session.access_token, session.refresh_token]

    async def _ask(self, request: Message, metadata: Metadata = ()) -> Any:
        try:
            return await calls.call(self._channel, request, metadata, timeout=CALL_S)
        except grpc.aio.AioRpcError as error:
            if (refusal := of_error(error)).code not in EXPECTED:
                self.errors.append(f"sign-up: {refusal}")
            return None
