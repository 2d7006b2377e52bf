"""The service credential is changed by three rolling restarts, of which users notice nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from devstack.secret_files import write_secret
from devstack.services import CHAT, PRESENCE
from devstack.stack import Stack
from parley_client import Client
from servicekit.auth import ServiceCredential
from tests.raw.refusal import of_error
from tests.raw.world import OPTIONS, PASSWORD
from tests.restarts import restart_in_turn
from tests.scenarios.conftest import ENVIRONMENT

pytestmark = pytest.mark.scenario

SERVICES = (CHAT, PRESENCE)
PAUSE_S = 0.2
DESCRIBE = "/parley.internal.v1.AdminService/DescribeServer"


async def test_credential_is_changed_in_three_steps_that_no_user_notices(tmp_path: Path) -> None:
    with Stack(tmp_path, 2, services=SERVICES, environment=ENVIRONMENT) as stack:
        file = stack.layout.secrets.credential
        old, new = file.read_text().strip(), secrets.token_urlsafe(32)
        async with users_at_work(stack) as succeeded:
            for lines in ([old, new], [new, old], [new]):
                write_secret(file, "\n".join(lines).encode())
                before = dict(succeeded)
                await asyncio.gather(*(restart_in_turn(stack, each.name) for each in SERVICES))
                assert all(succeeded[act] > before[act] for act in before), (before, succeeded)
        # The SDK repeats calls, which would hide that a server refused another one.
        logs = {replica.name: replica.log.read_text() for each in SERVICES for replica in stack.replicas(each.name)}
        assert [name for name, log in logs.items() if "service credential is not valid" in log] == []
        await check_all_accept(stack, new, refused=old)


@asynccontextmanager
async def users_at_work(stack: Stack) -> AsyncIterator[dict[str, int]]:
    """Let a user send and ask for presence within the block; yield how often each succeeded. None may fail."""
    over, succeeded = asyncio.Event(), dict.fromkeys(("send", "presence"), 0)

    async def repeat(name: str, act: Callable[[], Awaitable[object]]) -> None:
        while not over.is_set():
            await act()
            succeeded[name] += 1
            await asyncio.sleep(PAUSE_S)

    async with Client(stack.door) as alice, Client(stack.door) as bob:
        for name, client in {"alice": alice, "bob": bob}.items():
            await client.accounts.register(f"{name}-{secrets.token_hex(4)}", PASSWORD)
        assert bob.session is not None
        bob_id = bob.session.user_id
        chat = (await alice.conversations.get_or_create_direct(bob_id)).conversation_id
        async with alice.connect() as device, asyncio.TaskGroup() as group:
            group.create_task(repeat("send", lambda: device.send(chat, "hello")))
            group.create_task(repeat("presence", lambda: alice.presence.get([bob_id])))
            yield succeeded
            over.set()


async def check_all_accept(stack: Stack, secret: str, *, refused: str) -> None:
    """Check that every server accepts one secret at its internal port, and refuses the other."""
    for service in SERVICES:
        for replica in stack.replicas(service.name):
            async with grpc.aio.insecure_channel(replica.internal_address, options=OPTIONS) as channel:
                describe: Any = channel.unary_unary(DESCRIBE)
                await describe(b"", metadata=ServiceCredential(secret).metadata(), timeout=10)
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await describe(b"", metadata=ServiceCredential(refused).metadata(), timeout=10)
                assert of_error(error.value).code_and_reason == ("UNAUTHENTICATED", "TOKEN_INVALID")
