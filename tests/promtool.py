"""promtool, which checks metrics and rules; Debian's package `prometheus` has it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def run_promtool(*arguments: str | Path, stdin: str = "") -> str:
    """Run promtool, and return what it prints. Fail the test with that if promtool finds an error.

    Skip the test if promtool is not installed, which under CI is a failure.
    """
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: `python3 -m devstack.machine --tests` installs it, or prints the line")
    ran = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, check=False)
    printed = ran.stdout + ran.stderr
    assert ran.returncode == 0, printed
    return printed
