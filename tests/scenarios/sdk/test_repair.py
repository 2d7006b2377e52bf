"""One live frame is dropped, duplicated or swapped: a raw client detects it by seq, and the SDK repairs it."""

from __future__ import annotations

import pytest

from parley_client.demo import Report, run_demo
from tests.eventually import eventually
from tests.proxy.frame_faults import FaultKind, FrameFault, calls_of_device, has_message
from tests.proxy.rpc import Proxy
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.scenarios.sdk.recording_device import RecordingDevice

pytestmark = pytest.mark.scenario

EVERY_KIND = pytest.mark.parametrize("kind", FaultKind, ids=lambda kind: kind.value)
MESSAGES = 20
HEAD = MESSAGES + 1
"""Every log begins with the entry that says who its members are."""


@pytest.fixture
async def alice(world: World) -> RawDevice:
    """Alice, who sends directly, without the proxy."""
    alice = await world.user("alice")
    await alice.connect()
    return alice


@pytest.fixture
async def bob(world: World) -> RawDevice:
    return await world.user("bob")


async def send_messages(alice: RawDevice, conversation: str, count: int = MESSAGES) -> None:
    """Send one message after the other, so that each arrives in its own frame if the device keeps up."""
    for number in range(count):
        await alice.sent(conversation, f"message {number}")


@EVERY_KIND
async def test_sdk_device_repairs_faulty_frame_to_exact_log(
    kind: FaultKind, alice: RawDevice, bob: RawDevice, proxy: Proxy
) -> None:
    conversation = await alice.direct(bob)
    async with RecordingDevice(bob, proxy.address) as listener:
        await listener.wait_for_entries(conversation, 1)
        proxy.rule = fault = FrameFault(kind, nth=3, victims=calls_of_device(bob.device_id))
        await send_messages(alice, conversation)
        await listener.wait_for_entries(conversation, HEAD)
        assert fault.done
        log = await alice.fetch(conversation, limit=500)
        assert listener.seqs(conversation) == log.seqs == list(range(1, HEAD + 1))
        texts = [entry.text for entry in listener.pages[conversation][1:]]
        assert texts == [f"message {number}" for number in range(MESSAGES)]


async def test_dropped_last_entry_is_detected_by_own_receipt(
    world: World, alice: RawDevice, bob: RawDevice, proxy: Proxy
) -> None:
    conversation = await alice.direct(bob)
    async with (
        RecordingDevice(bob, proxy.address) as listener,
        RecordingDevice(await world.add_device(bob), proxy.address) as tablet,
    ):
        await send_messages(alice, conversation, 3)
        await listener.wait_for_entries(conversation, 4)
        proxy.rule = fault = FrameFault(FaultKind.DROP, victims=calls_of_device(bob.device_id))
        # That the tablet has it is told to all devices of bob, this one too.
        await send_messages(alice, conversation, 1)
        await tablet.wait_for_entries(conversation, 5)
        await listener.wait_for_entries(conversation, 5)
        assert fault.done
        assert listener.seqs(conversation) == tablet.seqs(conversation) == [1, 2, 3, 4, 5]


@EVERY_KIND
async def test_unrepaired_device_gets_no_duplicate_and_misses_dropped_entries(
    kind: FaultKind, alice: RawDevice, bob: RawDevice, proxy: Proxy
) -> None:
    conversation = await alice.direct(bob)
    async with RecordingDevice(bob, proxy.address, repair=False) as listener:
        await listener.wait_for_entries(conversation, 1)
        proxy.rule = fault = FrameFault(kind, nth=3, victims=calls_of_device(bob.device_id))
        await send_messages(alice, conversation)
        await eventually(lambda: listener.seqs(conversation)[-1] == HEAD)
        assert fault.done
        hit = {seq for _, seq in fault.hit} if kind is not FaultKind.DOUBLE else set()
        assert listener.seqs(conversation) == [seq for seq in range(1, HEAD + 1) if seq not in hit]


@EVERY_KIND
async def test_raw_client_detects_fault_by_seq(kind: FaultKind, alice: RawDevice, bob: RawDevice, proxy: Proxy) -> None:
    conversation = await alice.direct(bob)
    await bob.connect(at=proxy.address)
    proxy.rule = fault = FrameFault(kind, nth=3, victims=calls_of_device(bob.device_id))
    await send_messages(alice, conversation)
    await eventually(lambda: HEAD in bob.live_seqs(conversation))
    hit, seqs = [seq for _, seq in fault.hit], bob.live_seqs(conversation)
    assert fault.done
    match kind:
        case FaultKind.DROP:
            assert seqs == [seq for seq in range(seqs[0], HEAD + 1) if seq not in hit]
        case FaultKind.DOUBLE:
            assert [seq for seq in seqs if seqs.count(seq) > 1] == hit + hit
            assert sorted(set(seqs)) == list(range(seqs[0], HEAD + 1))
        case FaultKind.SWAP:
            assert seqs[seqs.index(hit[0]) - 1] > hit[-1]
            assert sorted(seqs) == list(range(min(seqs), HEAD + 1))
    # What was lost is there for whoever asks.
    assert (await bob.fetch(conversation, limit=500)).seqs == list(range(1, HEAD + 1))


# The demo, whose devices all stand behind the proxy. The fifth frame with messages is one of its first crowd.


def details(report: Report) -> dict[str, str]:
    return {verdict.promise: verdict.detail for verdict in report.verdicts if not verdict.kept}


async def test_demo_passes_through_transparent_proxy(proxy: Proxy) -> None:
    report = await run_demo(proxy.address, sends=5)
    assert report.ok, details(report)


@EVERY_KIND
async def test_demo_passes_with_repair(kind: FaultKind, proxy: Proxy) -> None:
    proxy.rule = fault = FrameFault(kind, nth=5, contents=has_message)
    report = await run_demo(proxy.address, sends=5)
    assert fault.done
    assert report.ok, details(report)


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.SWAP], ids=lambda kind: kind.value)
async def test_demo_without_repair_names_broken_promises(kind: FaultKind, proxy: Proxy) -> None:
    proxy.rule = fault = FrameFault(kind, nth=5, contents=has_message)
    report = await run_demo(proxy.address, repair=False, sends=5, timeout_s=4.0)
    assert fault.done
    assert not report.ok
    assert set(report.broken) == {"P2", "P4"}, details(report)
    assert "received seq" in details(report)["P2"]
    assert "never received" in details(report)["P4"]


async def test_duplicated_frame_breaks_no_promise(proxy: Proxy) -> None:
    proxy.rule = fault = FrameFault(FaultKind.DOUBLE, nth=5, contents=has_message)
    report = await run_demo(proxy.address, repair=False, sends=5)
    assert fault.done
    assert report.ok, details(report)
