"""A service process stops in order at every signal, and reports in a sentence why it cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
from servicekit.errors import StoreUnavailable
from servicekit.server import run
from servicekit.service import Service, serve
from servicekit.settings import ServiceSettings

async def ignore_cancellation():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def build(platform):
    BUILD

run(serve("empty", ServiceSettings, build))
"""


def start(folder: Path, build: str) -> subprocess.Popen[str]:
    """Start a service without etcd, whose function `build` has one statement."""
    credential = folder / "credential"
    credential.write_text("a secret of all the services")
    settings = {
        "PARLEY_LISTEN": "127.0.0.1:0",
        "PARLEY_INTERNAL_LISTEN": "127.0.0.1:0",
        # Nobody listens on the port for TCP multiplexers.
        "PARLEY_ETCD_ENDPOINTS": "127.0.0.1:1",
        "PARLEY_JWKS_FILE": str(credential),
        "PARLEY_SERVICE_CREDENTIAL_FILE": str(credential),
    }
    program = PROGRAM.replace("BUILD", build)
    return subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
    )


def wait_started(service: subprocess.Popen[str]) -> None:
    """Wait until the service looks for etcd."""
    assert service.stderr is not None
    assert "etcd unreachable" in service.stderr.readline()


def test_service_that_waits_for_its_stores_says_so(tmp_path: Path) -> None:
    build = "from servicekit import service; service.BUILD_NOTICE_S = 0.01; await asyncio.Event().wait()"
    with start(tmp_path, build) as service:
        assert service.stderr is not None
        assert "waiting for the stores" in service.stderr.readline()
        service.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_the_registration_stops_the_service(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "return Service(public=[])") as service:
        wait_started(service)
        service.send_signal(number)
        _, complaints = service.communicate(timeout=60)
    assert service.returncode == 0, complaints
    assert "server stopped" in complaints.splitlines()[-1]
    assert "Traceback" not in complaints


def test_component_that_ignores_its_cancellation_does_not_keep_the_process(tmp_path: Path) -> None:
    with start(tmp_path, "return Service(public=[], components=[ignore_cancellation])") as service:
        wait_started(service)
        service.terminate()
        service.communicate(timeout=60)
    assert service.returncode == 0


def test_store_that_does_not_answer_at_the_start_is_reported_in_a_sentence(tmp_path: Path) -> None:
    with start(tmp_path, 'raise StoreUnavailable("the database does not answer")') as service:
        _, complaints = service.communicate(timeout=60)
    assert service.returncode == 1
    assert complaints == (
        "The server cannot start: the database does not answer. "
        "Start the store, or correct its address in the settings.\n"
    )
