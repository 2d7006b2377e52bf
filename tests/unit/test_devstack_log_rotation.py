"""Logs are bounded, private, and never block the process that writes them."""

from __future__ import annotations

import errno
import shutil
import stat
import sys
from pathlib import Path

import pytest

from devstack.log_rotation import KEPT_LOGS, rotate_large_logs, rotate_logs
from devstack.managed_process import ManagedProcess, ProcessSpec
from tests.eventually import eventually

LINES = "import sys\nfor line in sys.argv[1:]: print(line)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "chat-1.log"


def write_lines(log: Path, *lines: str) -> None:
    """Append lines to a log by a process of the stack."""
    process = ManagedProcess(
        ProcessSpec("writer", (sys.executable, "-c", LINES, *lines), log, lambda: None, "127.0.0.1:1")
    )
    process.start()
    process.wait_exited(grace=20)


def contents(log: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in log.parent.iterdir()}


def test_log_is_rotated_once_it_is_large(log: Path) -> None:
    write_lines(log, "one")
    rotate_large_logs(log.parent, max_bytes=4)
    assert contents(log) == {"chat-1.log": "one\n"}
    write_lines(log, "two")
    rotate_large_logs(log.parent, max_bytes=4)
    assert contents(log) == {"chat-1.log": "", "chat-1.log.1": "one\ntwo\n"}


async def test_running_process_goes_on_at_the_new_end_of_its_log(log: Path) -> None:
    def size() -> int:
        return log.stat().st_size

    endless = "import itertools\nfor number in itertools.count(): print(number, flush=True)"
    process = ManagedProcess(ProcessSpec("writer", (sys.executable, "-c", endless), log, lambda: None, "127.0.0.1:1"))
    process.start()
    await eventually(lambda: size() > 10_000)
    process.freeze()
    rotate_large_logs(log.parent, max_bytes=1_000)
    assert size() == 0
    process.resume()
    await eventually(lambda: size() > 0)
    process.kill()
    assert b"\0" not in contents(log)["chat-1.log"].encode(), "the process wrote behind a hole"


def test_few_old_logs_are_kept_and_only_their_owner_can_read_them(log: Path) -> None:
    for number in range(KEPT_LOGS + 2):
        write_lines(log, str(number))
        (rotate_logs if number % 2 else lambda folder: rotate_large_logs(folder, max_bytes=0))(log.parent)
    assert {name: text for name, text in contents(log).items() if text} == {
        "chat-1.log.1": "4\n",
        "chat-1.log.2": "3\n",
        "chat-1.log.3": "2\n",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in log.parent.iterdir()} == {0o600}


def test_log_is_emptied_without_a_copy_while_the_disk_is_full(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_lines(log, "line")
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    rotate_large_logs(log.parent, max_bytes=1)
    assert contents(log) == {"chat-1.log": ""}
