"""The program of the README, run against a running system."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parley_client import FileStore
from tests.eventually import eventually
from tests.raw.world import PASSWORD
from tests.scenarios.sdk.people import Pair, People
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@asynccontextmanager
async def running(
    terminal: Terminal, folder: Path, *words: str, example: str = "pong.py"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an example in `folder` until the block ends."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / example), *words),
        env={**terminal.environment, "PARLEY_PASSWORD": PASSWORD},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_example_answers_and_resumes_after_a_restart(
    terminal: Terminal, people: People, pair: Pair, tmp_path: Path
) -> None:
    names = people.login_name("alice"), people.login_name("bob")
    store = FileStore(tmp_path / f"{names[0]}.json")

    async def texts() -> list[str]:
        newest_first = [each.text async for each in pair.bob.messages.list_before(pair.chat)]
        return newest_first[::-1]

    async def wait_texts(*expected: str) -> None:
        async def arrived() -> bool:
            return await texts() == list(expected)

        await eventually(arrived, 30.0)

    async with running(terminal, tmp_path, *names):
        await wait_texts("I answer ping.")
        ping = await pair.bob.messages.send(pair.chat, "ping")
        await wait_texts("I answer ping.", "ping", "pong")
        [answer, asked, _] = [each async for each in pair.bob.messages.list_before(pair.chat)]
        assert answer.reply_to_seq == ping.seq
        assert asked.reactions == {pair.alice_id: "👀"}
        head = (await pair.bob.conversations.get(pair.chat)).head_seq
        await eventually(lambda: store.load_state().last_seqs.get(pair.chat) == head)
    await pair.bob.messages.send(pair.chat, "ping")
    async with running(terminal, tmp_path, *names) as child:
        await wait_texts("I answer ping.", "ping", "pong", "ping", "I answer ping.", "pong")
        stored = store.load()
        assert stored is not None
        await pair.alice.accounts.revoke_device(stored.device_id)
        out, err = await child.communicate()
    assert "SignedOut" in err.decode()
    assert "bob: ping" in out.decode()
    assert store.load() is None


async def test_example_keeps_the_files_that_it_is_sent(
    terminal: Terminal, people: People, pair: Pair, tmp_path: Path
) -> None:
    folder, sent = tmp_path / "kept", tmp_path / "notes.txt"
    folder.mkdir()
    sent.write_bytes(b"buy milk")
    await pair.bob.messages.send_file(pair.chat, sent)

    async def captions() -> list[str]:
        media = [
            each.media async for each in pair.bob.messages.list_before(pair.chat) if each.actor_id == pair.alice_id
        ]
        return [each.caption for each in media if each is not None]

    async def answered(*expected: str) -> bool:
        return await captions() == list(expected)

    async with running(terminal, tmp_path, people.login_name("alice"), str(folder), example="keeper.py"):
        await eventually(lambda: answered("kept notes.txt"), 30.0)
        await pair.bob.messages.send_file(pair.chat, sent)
        await eventually(lambda: answered("kept notes (1).txt", "kept notes.txt"), 30.0)
    assert (folder / "notes (1).txt").read_bytes() == b"buy milk"
    assert (folder / "receipts.txt").read_text() == "notes.txt\nnotes (1).txt\n"
