"""A part, tested with small commands instead of servers, starts, fails, ends, and never outlives its launcher."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from devstack.errors import ProcessFailed, SetupError, StopRequested
from devstack.managed_process import ManagedProcess, ProcessSpec, freeze, last_lines
from tests.eventually import eventually


def part(folder: Path, *command: str, grace: float = 10.0, healthy_when: str = "") -> ManagedProcess:
    """Return a part that is healthy once its log contains `healthy_when`."""
    log = folder / "part.log"

    def probe() -> str | None:
        return None if healthy_when in log.read_text() else "it has not said so"

    environment = {"OWN": "yes", "PYTHONUNBUFFERED": "1"}
    return ManagedProcess(ProcessSpec("sample", command, log, probe, "127.0.0.1:1", (), environment, grace))


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def test_part_becomes_healthy_and_terminates(tmp_path: Path) -> None:
    sample = part(tmp_path, *python("import time; print('up'); time.sleep(60)"), healthy_when="up")
    sample.start()
    sample.wait_healthy()
    assert sample.running
    pid = sample.pid
    sample.start()
    assert sample.pid == pid, "a running part is not started twice"
    assert sample.terminate() == -signal.SIGTERM
    with pytest.raises(SetupError, match="sample is not running"):
        _ = sample.pid


def test_failed_part_shows_the_end_of_its_log(tmp_path: Path) -> None:
    sample = part(tmp_path, *python("import sys; print('reading x'); sys.exit('x is missing')"), healthy_when="up")
    sample.start()
    with pytest.raises(ProcessFailed) as failure:
        sample.wait_healthy()
    assert str(failure.value) == (
        "sample ended with exit code 1. The last lines of its log:\n    reading x\n    x is missing"
    )


def test_missing_executable_is_reported(tmp_path: Path) -> None:
    sample = part(tmp_path, str(tmp_path / "nothing"), healthy_when="up")
    sample.start()
    with pytest.raises(ProcessFailed, match="nothing: No such file or directory"):
        sample.wait_healthy()


def test_health_timeout_reports_the_probe(tmp_path: Path) -> None:
    sample = part(tmp_path, *python("import time; time.sleep(60)"), healthy_when="up")
    sample.start()
    with pytest.raises(ProcessFailed, match="is not healthy after 0 s: it has not said so"):
        sample.wait_healthy(timeout=0)
    sample.kill()


def test_stop_event_ends_the_wait(tmp_path: Path) -> None:
    sample = part(tmp_path, *python("import time; time.sleep(60)"), healthy_when="up")
    stop = Event()
    stop.set()
    sample.start()
    with pytest.raises(StopRequested):
        sample.wait_healthy(stop=stop)
    sample.kill()
    assert sample.returncode == -signal.SIGKILL


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"


def test_part_ignoring_sigterm_is_killed_after_grace_period(tmp_path: Path) -> None:
    sample = part(tmp_path, *python(DEAF), healthy_when="deaf", grace=0.05)
    sample.start()
    sample.wait_healthy()
    assert sample.terminate() == -signal.SIGKILL


def test_hurry_event_kills_at_once(tmp_path: Path) -> None:
    sample = part(tmp_path, *python(DEAF), healthy_when="deaf", grace=60)
    hurry = Event()
    hurry.set()
    sample.start()
    sample.wait_healthy()
    sample.request_stop()
    sample.wait_exited(kill_now=hurry)
    assert sample.returncode == -signal.SIGKILL


def test_frozen_part_can_be_terminated(tmp_path: Path) -> None:
    sample = part(tmp_path, *python("import time; print('up'); time.sleep(60)"), healthy_when="up")
    sample.start()
    sample.wait_healthy()
    sample.freeze()
    assert sample.running
    assert sample.terminate() == -signal.SIGTERM


def test_freeze_of_reaped_process_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(python("import time; time.sleep(60)")) as child:

        def ends_and_is_reaped(_: int) -> None:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)

        monkeypatch.setattr(child, "send_signal", ends_and_is_reaped)
        freeze(child)


def test_parley_settings_are_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_LISTEN", "0.0.0.0:1")
    monkeypatch.setenv("OTHER", "kept")
    text = "import os; print(os.environ.get('PARLEY_LISTEN'), os.environ['OTHER'], os.environ['OWN'], 'end')"
    sample = part(tmp_path, *python(text + "; import time; time.sleep(60)"), healthy_when="end")
    sample.start()
    sample.wait_healthy()
    sample.kill()
    assert last_lines(sample.log) == ["None kept yes end"]


def test_part_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    sample = part(tmp_path, *python("import time; print('up'); time.sleep(60)"), healthy_when="up")
    thread = Thread(target=sample.start)
    thread.start()
    thread.join()
    sample.wait_healthy()
    assert sample.running
    sample.kill()


LAUNCHER = """
import sys, time
from pathlib import Path
from devstack.managed_process import ManagedProcess, ProcessSpec

log = Path(sys.argv[1])
spec = ProcessSpec("sample", (sys.executable, "-c", "import time; time.sleep(60)"), log, lambda: None, "127.0.0.1:1")
part = ManagedProcess(spec)
part.start()
part.freeze()
print(part.pid, flush=True)
time.sleep(60)
"""


async def test_frozen_part_dies_with_killed_launcher(tmp_path: Path) -> None:
    command = (sys.executable, "-c", LAUNCHER, str(tmp_path / "log"))
    launcher = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    pid = int(await launcher.stdout.readline())
    launcher.kill()
    await launcher.wait()
    await eventually(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Return True if the process runs and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_last_lines_of_a_long_log_are_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert last_lines(log, 2) == ["line 9998", "line 9999"]
    assert last_lines(tmp_path / "none") == []
