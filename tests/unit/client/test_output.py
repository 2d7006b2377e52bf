"""The output of the command into a pipe whose reader leaves, and into a full disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminal import PARLEY, Terminal

SIGPIPE_EXIT = 141


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal("127.0.0.1:9", tmp_path, "password")


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("history", "--help"), ()], ids=str)
async def test_command_whose_reader_left_ends_quietly(terminal: Terminal, words: tuple[str, ...]) -> None:
    assert await terminal.run_without_reader(*words) == (SIGPIPE_EXIT, "")


async def test_error_message_that_nobody_reads_ends_command_quietly(terminal: Terminal) -> None:
    """`parley whoami 2>&1 | head -0` writes its error into the pipe too."""
    shell = f"{sys.executable} -c '{PARLEY}' whoami 2>&1 | true; exit ${{PIPESTATUS[0]}}"
    child = await asyncio.create_subprocess_exec(
        *("bash", "-c", shell), env=terminal.environment, stderr=asyncio.subprocess.PIPE
    )
    _, err = await child.communicate()
    assert (child.returncode, err) == (SIGPIPE_EXIT, b"")


def test_full_disk_is_reported_once() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", PARLEY, "--version"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.decode() == "The output could not be written: No space left on device.\n"


def test_closed_output_is_no_error() -> None:
    shell = f"{sys.executable} -c '{PARLEY}' --version >&-"
    assert subprocess.run(["bash", "-c", shell], env=os.environ, capture_output=True, check=False).returncode == 0
