"""`make run` as a user sees it: its output, the files that it leaves, and that no process outlives it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from devstack.ports import LOOPBACK, PortBlock, Ports, is_free
from devstack.services import SERVICES
from devstack.stack import SERVERS
from tests.eventually import eventually

pytestmark = pytest.mark.integration

# The processes of a stack without chat servers.
PARTS: Final = len(SERVERS) + sum(service.replicas for service in SERVICES if service.name != "chat")


@pytest.fixture
def ports() -> Iterator[Ports]:
    block = PortBlock()
    yield block.ports
    block.release()


class Run:
    """A `python -m devstack` without chat servers, and its output."""

    def __init__(self, launcher: Process) -> None:
        self.launcher = launcher
        self.text = ""

    @classmethod
    async def start(cls, folder: Path, ports: Ports, *more: str) -> Run:
        options = (
            "--chat-servers",
            "0",
            "--port",
            str(ports.door),
            "--media-port",
            str(ports.media),
            "--base-port",
            str(ports.base),
        )
        command = (sys.executable, "-m", "devstack", *options, "--folder", str(folder), *more)
        return cls(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT))

    async def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Read lines until one matches and return the match."""
        assert self.launcher.stdout is not None
        async with asyncio.timeout(30):
            while line := (await self.launcher.stdout.readline()).decode():
                self.text += line
                if match := re.search(pattern, line):
                    return match
        raise AssertionError(f"no line matches {pattern}:\n{self.text}")

    async def end(self) -> int:
        """Read the rest of the output into `text` and return the exit code."""
        assert self.launcher.stdout is not None
        async with asyncio.timeout(30):
            self.text += (await self.launcher.stdout.read()).decode()
            return await self.launcher.wait()


@pytest.fixture
async def run(tmp_path: Path, ports: Ports) -> AsyncIterator[Run]:
    run = await Run.start(tmp_path, ports)
    yield run
    with suppress(ProcessLookupError):
        run.launcher.kill()
    await run.launcher.wait()


def children(pid: int) -> set[int]:
    """Return the ids of the running child processes of `pid`."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.add(int(stat.parent.name))
    return found


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}/exe").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stack_starts_and_stops_cleanly(run: Run, tmp_path: Path, ports: Ports, number: signal.Signals) -> None:
    await run.wait_for_line("Parley is up")
    await run.wait_for_line("Ctrl-C stops everything")
    parts = children(run.launcher.pid)
    assert len(parts) == PARTS
    run.launcher.send_signal(number)
    assert await run.end() == 0
    assert run.text.endswith("Everything is stopped.\n")
    assert alive(parts) == set()
    assert all(
        is_free(port) for port in (ports.door, ports.media, ports.mongod, ports.valkey, ports.etcd, *ports.seaweedfs)
    )
    assert set(os.listdir(tmp_path)) == {"data", "envoy", "lock", "logs", "reflection.binpb", "secrets"}  # noqa: PTH208


async def test_stop_during_start_leaves_no_process(run: Run) -> None:
    await eventually(lambda: children(run.launcher.pid))
    parts = children(run.launcher.pid)
    assert parts
    run.launcher.send_signal(signal.SIGINT)
    assert await run.end() == 0
    assert "Parley is up" not in run.text
    assert alive(parts) == set()


async def test_stack_stops_in_order_when_output_is_closed(tmp_path: Path, ports: Ports) -> None:
    reader, writer = os.pipe()
    options = (
        "--chat-servers",
        "0",
        "--port",
        str(ports.door),
        "--media-port",
        str(ports.media),
        "--base-port",
        str(ports.base),
    )
    command = (sys.executable, "-m", "devstack", *options, "--folder", str(tmp_path))
    launcher = await asyncio.create_subprocess_exec(*command, stdout=writer, stderr=PIPE)
    os.close(writer)
    await eventually(lambda: len(children(launcher.pid)) == PARTS, timeout=30)
    os.close(reader)
    launcher.send_signal(signal.SIGHUP)
    _, errors = await launcher.communicate()
    assert (launcher.returncode, errors) == (0, b"")
    assert '"msg":"Shutting down","attr":{"exitCode":0}' in (tmp_path / "logs" / "mongod.log").read_text()


async def test_no_part_outlives_killed_launcher(run: Run) -> None:
    await run.wait_for_line("Parley is up")
    parts = children(run.launcher.pid)
    assert len(parts) == PARTS
    run.launcher.kill()
    await eventually(lambda: not alive(parts))


async def test_dead_part_is_restarted(run: Run) -> None:
    valkey = int((await run.wait_for_line(r"valkey is healthy.*process (\d+)"))[1])
    await run.wait_for_line("Ctrl-C stops everything")
    os.kill(valkey, signal.SIGKILL)
    await run.wait_for_line(r"valkey died with SIGKILL; starting it again in 0\.5 s")
    await run.wait_for_line("valkey is healthy again")
    run.launcher.send_signal(signal.SIGINT)
    assert await run.end() == 0


async def test_second_run_on_same_folder_is_refused(run: Run, tmp_path: Path, ports: Ports) -> None:
    await run.wait_for_line("Ctrl-C stops everything")
    second = await Run.start(tmp_path, ports)
    assert await second.end() == 1
    assert second.text.startswith(f"A stack already runs on {tmp_path} (process {run.launcher.pid}).")
    assert "Traceback" not in second.text


async def test_taken_port_is_named(tmp_path: Path, ports: Ports) -> None:
    with socket.create_server((LOOPBACK, ports.valkey)):
        run = await Run.start(tmp_path, ports)
        assert await run.end() == 1
    assert f"Port {ports.valkey}, which valkey needs, is in use by another program." in run.text
    assert "Traceback" not in run.text


async def test_part_that_cannot_start_shows_its_log_and_stops_the_stack(tmp_path: Path, ports: Ports) -> None:
    spoiled = tmp_path / "data" / "valkey" / "appendonlydir"
    spoiled.mkdir(parents=True)
    (spoiled / "appendonly.aof.manifest").write_text("this is no manifest\n")
    run = await Run.start(tmp_path, ports)
    await eventually(lambda: children(run.launcher.pid))
    assert await run.end() == 1
    assert re.search(r"valkey ended with exit code 1\. The last lines of its log:\n.*manifest", run.text, re.DOTALL)
    assert "Traceback" not in run.text
    assert all(is_free(port) for port in (ports.door, ports.mongod, ports.etcd))


async def test_data_and_last_logs_outlive_a_run(tmp_path: Path, ports: Ports) -> None:
    key = tmp_path / "secrets" / "signing-key.pem"
    keys = []
    for _ in range(2):
        run = await Run.start(tmp_path, ports)
        await run.wait_for_line("Ctrl-C stops everything")
        keys.append(key.read_bytes())
        run.launcher.send_signal(signal.SIGINT)
        assert await run.end() == 0
    assert keys[0] == keys[1]
    assert (tmp_path / "logs" / "mongod.log.1").exists()
