"""The benchmark command on a whole system, with the smallest sizes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.workloads import WORKLOADS

pytestmark = pytest.mark.integration

BENCH = [sys.executable, "-m", "bench"]


def test_tiny_run_measures_every_scene(tmp_path: Path) -> None:
    command = [*BENCH, "--tiny", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = tmp_path.glob("*.json")
    figures = json.loads(kept.read_text())["figures"]
    assert len({figure["scene"] for figure in figures}) == len(WORKLOADS)
    assert {len(figure["values"]) for figure in figures} == {2}
    rate = next(each for each in figures if each["name"] == "messages")
    assert min(rate["values"]) > 0
    assert all(figure["scene"] in done.stdout for figure in figures)
    assert str(kept) in done.stdout


def test_unknown_scene_is_refused_with_a_message() -> None:
    done = subprocess.run([*BENCH, "--workload", "opera"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    names = "idle, durable, group, latency, presence, push, uploads, downloads, pictures"
    assert done.stderr == f"Unknown workload opera; choose from {names}.\n"


def test_ctrl_c_stops_all_servers_and_writes_no_result(tmp_path: Path) -> None:
    command = [*BENCH, "--workload", "durable", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as bench:
        assert bench.stdout is not None
        for line in bench.stdout:
            if "warming up" in line:
                bench.send_signal(signal.SIGINT)
                break
        rest = bench.stdout.read()
        assert bench.wait(timeout=60) == 130
    assert rest.splitlines()[-1] == "Stopped; nothing was written."
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())
