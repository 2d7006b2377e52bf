"""`parley presence` shows who is online, each change with --watch, and who may see it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from parley_client import Client
from tests.proxy.rpc import Proxy
from tests.scenarios.sdk.people import People, user_id
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Cast:
    """Alice, who is signed in on the terminal, and bob, who has written to her, with a client of his."""

    terminal: Terminal
    people: People
    alice: str
    bob: str
    client: Client

    @asynccontextmanager
    async def watch(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run `parley presence` with --watch."""
        child = await self.terminal.begin("presence", *words, "--watch", "--as", self.alice)
        try:
            yield child
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()


@pytest.fixture
async def cast(terminal: Terminal, people: People) -> Cast:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    await terminal.ok("send", alice, "hello", "--as", bob)
    client = await people.client("bob")
    # Once it has started, the service answers only when it knows that it has missed nothing, later than the command
    # would wait.
    await client.presence.get([user_id(client)])
    return Cast(terminal, people, alice, bob, client)


async def next_line(child: asyncio.subprocess.Process) -> str:
    """Return the next line of the output, which is a pipe, without its end."""
    assert child.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        return (await child.stdout.readline()).decode().rstrip("\n")


async def test_present_state_of_users_is_shown(cast: Cast) -> None:
    names = (cast.bob, cast.alice, cast.bob)
    shown = await cast.terminal.ok("presence", *names, "--as", cast.alice)
    assert [line.split() for line in shown.splitlines()] == [[cast.bob, "offline"], [cast.alice, "offline"]]
    device = await cast.people.device(cast.client)
    assert await cast.terminal.ok("presence", cast.bob, "--as", cast.alice) == f"{cast.bob}  online\n"
    async with cast.watch(cast.bob) as child:
        await next_line(child)
        device.set_foreground(False)
        assert (await next_line(child)).endswith("away")
    told = json.loads(await cast.terminal.ok("presence", cast.bob, "--json", "--as", cast.alice))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told.pop("last_seen_time"))
    assert told == {"login_name": cast.bob, "user_id": device.user_id, "state": "PRESENCE_STATE_BACKGROUND"}


async def test_watch_prints_each_change_until_interrupted(cast: Cast) -> None:
    async with cast.watch(cast.bob, cast.alice) as child:
        first = [await next_line(child), await next_line(child)]
        assert [line.split()[1:] for line in first] == [[cast.bob, "offline"], [cast.alice, "offline"]]
        async with cast.client.connect():
            assert re.fullmatch(rf"\d\d:\d\d:\d\d  {re.escape(cast.bob)} +online", await next_line(child))
        assert " last seen " in await next_line(child)
        child.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(child.communicate(), TIMEOUT_S)
        assert (child.returncode, out, err) == (130, b"", b"")


async def test_watch_prints_json_documents(cast: Cast) -> None:
    async with cast.watch(cast.bob, "--json") as child:
        assert json.loads(await next_line(child))["state"] == "PRESENCE_STATE_OFFLINE"
        await cast.people.device(cast.client)
        assert json.loads(await next_line(child)) == {
            "login_name": cast.bob,
            "user_id": user_id(cast.client),
            "state": "PRESENCE_STATE_ONLINE",
            "last_seen_time": None,
        }


async def test_watch_says_that_the_connection_is_lost(cast: Cast, proxy: Proxy) -> None:
    async with cast.watch(cast.bob) as child:
        await next_line(child)
        await proxy.stop()
        assert child.stderr is not None
        line = await asyncio.wait_for(child.stderr.readline(), TIMEOUT_S)
        assert line.decode() == "The connection is lost. Trying again…\n"
        child.send_signal(signal.SIGINT)
        await asyncio.wait_for(child.communicate(), TIMEOUT_S)
        assert child.returncode == 130


async def test_visibility_is_shown_and_changed(cast: Cast) -> None:
    as_bob = ("--as", cast.bob)
    shown = await cast.terminal.ok("presence", "visibility", *as_bob)
    assert shown == (
        "Users who see whether you are online: users you have written to.\n"
        "Users who see when you last were online: users you have written to.\n"
    )
    changed = await cast.terminal.ok("presence", "visibility", "--online", "everyone", "--last-seen", "nobody", *as_bob)
    assert "online: everyone.\n" in changed
    await cast.terminal.ok("presence", "visibility", "--online", "nobody", *as_bob)
    told = json.loads(await cast.terminal.ok("presence", "visibility", "--json", *as_bob))
    assert told == {"online": "AUDIENCE_NOBODY", "last_seen": "AUDIENCE_NOBODY"}
    await cast.people.device(cast.client)
    assert await cast.terminal.ok("presence", cast.bob, "--as", cast.alice) == f"{cast.bob}  offline\n"
    code, _, err = await cast.terminal.run("presence", "visibility", "--online", "friends", *as_bob)
    assert code == 2
    assert "acquainted" in err


async def test_unknown_user_is_refused_in_a_sentence(cast: Cast) -> None:
    nobody = cast.people.login_name("nobody")
    for words in ((nobody,), (cast.bob, nobody, "--watch"), ("show", nobody)):
        said = await cast.terminal.refused("presence", *words, "--as", cast.alice)
        assert said == f"There is no user {nobody}.\n"
    forged = await cast.terminal.refused("presence", "\x1b]0;title\x07", "--as", cast.alice)
    assert "\x1b" not in forged


async def test_unreachable_door_is_explained(terminal: Terminal, people: People, proxy: Proxy) -> None:
    [alice] = await people.sign_in(terminal, "alice")
    await proxy.stop()
    for words in ((alice,), (alice, "--watch"), ("visibility",)):
        assert "Nothing answers at" in await terminal.refused("presence", *words)
