"""The commands for operators find users by name or id, on the running system."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from dataclasses import dataclass

import pytest

from tests.raw.device import RawDevice
from tests.raw.pushes import Pushes
from tests.raw.world import World

pytestmark = pytest.mark.scenario


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who runs `python -m notify_service`, with the address of etcd and the credential of the services."""

    world: World

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Return the exit code, the output and the errors of a command."""
        layout = self.world.stack.layout
        settings = {
            "PARLEY_ETCD_ENDPOINTS": self.world.stack.etcd_endpoint,
            "PARLEY_SERVICE_CREDENTIAL_FILE": str(layout.secrets.credential),
        }
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "notify_service", *words),
            env={**os.environ, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await command.communicate()
        return command.returncode or 0, out.decode(), err.decode()


@pytest.fixture
def operator(world: World) -> Operator:
    return Operator(world)


@pytest.fixture
async def bob(world: World) -> tuple[str, RawDevice]:
    """The login name of bob, and his device."""
    name = f"bob-{uuid.uuid4().hex[:8]}"
    return name, await world.listed_user(name, "Bob")


async def test_user_is_found_by_name_and_by_id(operator: Operator, bob: tuple[str, RawDevice], pushes: Pushes) -> None:
    name, device = bob
    await pushes.register(device)
    sent = f"device {device.device_id}  fcm  accepted\n"
    for user in (name, name.upper(), device.user_id):
        assert await operator.run("test", user) == (0, sent, "")
        assert await operator.run("trace", user) == (0, "no decision in the last 7 days\n", "")


async def test_unknown_name_is_refused_in_a_sentence(operator: Operator) -> None:
    assert await operator.run("trace", "nobody-of-this-name") == (1, "", "There is no user nobody-of-this-name.\n")
    code, _, err = await operator.run("trace", "bob smith")
    assert code == 2
    assert "'bob smith' is neither a login name nor the id of a user" in err
