"""Every kind of fault once, in order: each is logged and counted, and breaks no promise."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.eventually import eventually
from tests.faults.cluster import Cluster
from tests.faults.crowd import Crowd
from tests.faults.files.album import PAUSE_S, Album
from tests.faults.files.judge import broken_file_promises
from tests.faults.judge import broken_promises
from tests.faults.nemesis import ALL_KINDS, Kind, Nemesis
from tests.faults.talkers import TOKEN_S
from tests.raw.world import World

pytestmark = [pytest.mark.fault, pytest.mark.long]

RATE: Final = 40.0
SOON_S: Final = 30.0
# What at least one of the servers that are left says of it, and counts.
TOLD: Final = {
    "chat server killed": "peer declared dead",
    "two chat servers killed": "peer declared dead",
    # Nobody else leaves the ring without leaving.
    "chat server frozen": r"left=\['.*service=chat",
    "chat server restarted": "server draining",
    "all chat servers restarted in turn": "server draining",
    "mesh links cut": "peer stream closed",
    "MongoDB primary killed": "MongoDB primary lost",
    "MongoDB primary stepped down": "MongoDB primary lost",
    "MongoDB primary frozen": "call failed, retrying",
    "MongoDB rolled back": "MongoDB primary lost",
    "Valkey killed": "change index outage began",
    "Valkey frozen": "change index outage began",
    "Valkey out of memory": "change index outage began",
    "Valkey flushed": "change index lost data",
    "Valkey flushed while devices are away": "change index lost data",
    "Valkey failed over with loss": "change index recovered",
    "etcd stopped": "etcd unreachable; last ring stays active",
    "etcd data lost": "etcd unreachable; last ring stays active",
    "chat server killed while etcd is frozen": "dead member skipped",
    "etcd leases expired": "etcd unreachable; last ring stays active",
    "media server killed": r"left=\['.*service=media",
    "media server frozen": r"left=\['.*service=media",
    "picture workers killed": "picture worker (replaced|did not start|killed)",
    "presence server killed": r"left=\['.*service=presence",
    "presence server frozen": r"left=\['.*service=presence",
    "all presence servers killed": r"left=\['.*service=presence",
    "all presence servers restarted in turn": r"left=\['.*service=presence",
    "notify server killed": r"left=\['.*service=notify",
    "notify server frozen": r"left=\['.*service=notify",
    "all notify servers killed": r"left=\['.*service=notify",
    "all notify servers restarted in turn": r"left=\['.*service=notify",
    "S3 store killed": "S3 outage began",
    "S3 store frozen": "S3 outage began",
}


class Logs:
    """The log lines of chat and media servers since the last check."""

    def __init__(self, cluster: Cluster) -> None:
        self._files = [server.log for server in (*cluster.chat_servers, *cluster.media_servers)]
        self._read = {file: file.stat().st_size for file in self._files}

    def has_new_line_with(self, pattern: str) -> bool:
        """Return true if a new line of a log contains a match."""
        return any(
            re.search(pattern, file.read_bytes()[self._read[file] :].decode(errors="replace")) for file in self._files
        )


@pytest.mark.timeout(1200)
async def test_every_fault_is_reported_and_breaks_no_promise(tmp_path: Path) -> None:
    random = Random(3)
    async with (
        Cluster(tmp_path) as cluster,
        World(cluster.stack, TOKEN_S) as world,
        Crowd(cluster, world, random, RATE) as crowd,
        Album(world, Random(3)) as album,
    ):
        nemesis = Nemesis(cluster, crowd.journal, random)
        over = False
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.talk(lambda: not over))
            for uploader in album.uploaders:
                group.create_task(uploader.work(lambda: not over, PAUSE_S))
            silent = [kind.name for kind in ALL_KINDS if not await _strike_is_reported(kind, nemesis, cluster, world)]
            over = True
        await crowd.wait_answered(60.0)
        found = await crowd.logs()
        await eventually(lambda: not crowd.count_missing(found), SOON_S)
        assert not silent, f"nobody tells of {silent}"
        told = [*cluster.complaints, *crowd.errors, *(error for each in crowd.talkers for error in each.errors)]
        assert not [*told, *album.errors]
        assert crowd.journal.acknowledged > 1000
        holdings, _ = await album.settle()
        broken = [*broken_promises(crowd.journal, found), *broken_file_promises(album.journal, holdings)]
        assert len(album.journal.files) > 50
        assert not broken, [str(each) for each in broken[:5]]
        assert "parley_log_events_total{" in await asyncio.to_thread(_metrics, cluster.chat_servers[0].metrics_address)


async def _strike_is_reported(kind: Kind, nemesis: Nemesis, cluster: Cluster, world: World) -> bool:
    """Strike and check that the expected log line or metric appears."""
    # What is still to be said of the strike before shall not be taken for it.
    await world.wait_ring_settled(SOON_S)
    logs = Logs(cluster)
    await nemesis.strike(kind)
    if kind.name not in TOLD:
        return True
    with suppress(AssertionError):
        await eventually(lambda: logs.has_new_line_with(TOLD[kind.name]), SOON_S)
        return True
    return False


def _metrics(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as page:
        return str(page.read().decode())
