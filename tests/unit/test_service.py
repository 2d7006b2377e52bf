"""A service process stops in order at every signal, also at one that comes before it is registered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from servicekit.server import run
from servicekit.service import Service, serve
from servicekit.settings import ServiceSettings

async def build(platform):
    return Service(public=[])

run(serve("empty", ServiceSettings, build))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_the_registration_stops_the_service(tmp_path: Path, number: signal.Signals) -> None:
    credential = tmp_path / "credential"
    credential.write_text("a secret of all the services")
    settings = {
        "PARLEY_LISTEN": "127.0.0.1:0",
        "PARLEY_INTERNAL_LISTEN": "127.0.0.1:0",
        # Nobody listens on the port for TCP multiplexers.
        "PARLEY_ETCD_ENDPOINTS": "127.0.0.1:1",
        "PARLEY_JWKS_FILE": str(credential),
        "PARLEY_SERVICE_CREDENTIAL_FILE": str(credential),
    }
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
    ) as service:
        assert service.stderr is not None
        assert "etcd unreachable" in service.stderr.readline()
        service.send_signal(number)
        _, complaints = service.communicate(timeout=20)
    assert service.returncode == 0, complaints
    assert "server stopped" in complaints.splitlines()[-1]
    assert "Traceback" not in complaints
