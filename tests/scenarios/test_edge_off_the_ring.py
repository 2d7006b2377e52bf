"""A server leaves the ring briefly, as after a lost lease: the devices connected to it miss no entry."""

from __future__ import annotations

import pytest

from devstack.stack import Stack
from servicekit.etcd import Etcd
from servicekit.member_record import MemberRecord
from servicekit.ring_watcher import members_prefix
from tests.eventually import eventually
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.fault]


async def lose_lease(stack: Stack, server: str, noticed_by: str) -> None:
    """Revoke a server's lease, and wait until the other server saw it leave and rejoin at its next renewal."""
    log = next(each for each in stack.chat_servers if each.address == noticed_by).log
    seen = changes(log.read_text(), server)
    async with Etcd([stack.etcd_endpoint]) as etcd:
        record = await etcd.get(members_prefix("chat") + server)
        assert record is not None
        await etcd.revoke(MemberRecord.from_bytes(record).lease)
    # More, where it lost another one meanwhile.
    await eventually(lambda: changes(log.read_text(), server) >= seen + 2)


def changes(log: str, server: str) -> int:
    """Return the number of logged ring changes that concern only this server."""
    lines = [line for line in log.splitlines() if "ring changed" in line]
    return sum(1 for line in lines if f"['{server}']" in line)


async def test_edge_rejoining_over_old_link_keeps_its_sessions(world: World) -> None:
    # The lower name dials, and keeps its links while it is off the ring; so its sessions are not attached anew.
    edge, home, owner = sorted(world.servers)
    alice, bob = await world.pair(owner, home)
    conversation = await alice.direct(bob)
    await alice.connect(at=owner)
    await bob.connect(at=edge)
    await alice.sent(conversation, "before")
    await bob.has(conversation, "before")
    await lose_lease(world.stack, edge, noticed_by=home)
    await alice.sent(conversation, "after")
    # A raw device fetches nothing by itself: it came live.
    await bob.has(conversation, "before", "after")
    assert bob.stream.open


async def test_edge_rejoining_after_cut_links_reattaches_its_sessions(
    world: World,
) -> None:
    owner, home, edge = sorted(world.servers)
    alice, bob = await world.pair(owner, home)
    conversation = await alice.direct(bob)
    await alice.connect(at=owner)
    await bob.connect(at=edge)
    await lose_lease(world.stack, edge, noticed_by=home)
    sent = [await alice.sent(conversation, "is anybody there?")]

    async def live() -> bool:
        sent.append(await alice.sent(conversation, "is anybody there?"))
        return bool(bob.live_seqs(conversation))

    await eventually(live)
    first = bob.live_seqs(conversation)[0]
    await bob.has_all(conversation, sent[-1])
    assert bob.live_seqs(conversation) == list(range(first, sent[-1] + 1))
    assert bob.stream.open
