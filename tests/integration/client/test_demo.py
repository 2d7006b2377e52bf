"""The demo and the SDK on a whole real system: three chat servers behind Envoy."""

import asyncio

import pytest

from devstack.stack import Stack
from parley_client import CaughtUp, Client, EntryReceived
from parley_client.demo import run_demo

pytestmark = [pytest.mark.integration, pytest.mark.e2e]


async def test_demo_reports_every_promise_kept(stack: Stack) -> None:
    report = await run_demo(stack.door, sends=10)
    assert report.ok, [verdict for verdict in report.verdicts if not verdict.kept]
    assert not report.skipped
    assert len(report.latencies) == 10


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_device_loses_no_send_or_entry_when_its_server_ends(stack: Stack, end: str) -> None:
    async with Client(stack.door) as alice, Client(stack.door) as bob:
        name = alice.new_id()
        await alice.accounts.register(f"a-{name}", "correct horse")
        bobs = await bob.accounts.register(f"b-{name}", "correct horse")
        chat = (await alice.conversations.get_or_create_direct(bobs.user_id)).conversation_id
        async with alice.connect() as sender, bob.connect() as receiver:
            await receiver.wait_connected()
            async for event in receiver:
                if isinstance(event, CaughtUp):
                    break
            sendings = [sender.send(chat, str(n)) for n in range(20)]
            await sendings[0]
            victim = next(part for part in stack.processes.values() if str(part.address) == sender.home)
            await asyncio.to_thread(getattr(victim, end))
            try:
                sendings += [sender.send(chat, str(n)) for n in range(20, 40)]
                answers = [await sending for sending in sendings]
                assert [answer.seq for answer in answers] == list(range(2, 42))
                heard: list[str] = []
                async for event in receiver:
                    if isinstance(event, EntryReceived) and event.text is not None:
                        heard.append(event.text)
                    if len(heard) == 40:
                        break
                assert heard == [str(n) for n in range(40)]
            finally:
                victim.start()
                await asyncio.to_thread(victim.wait_healthy)
