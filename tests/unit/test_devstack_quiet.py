"""The modules that `make` runs during installation can be interrupted without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def run_quiet(folder: Path, source: str, *arguments: str) -> tuple[int, str, str]:
    (folder / "played.py").write_text(source)
    command = [sys.executable, "-m", "devstack.run_quietly", "played", *arguments]
    path = f"{Path(__file__).parents[2]}:{folder}"
    ended = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_interrupt_prints_no_traceback(tmp_path: Path) -> None:
    assert run_quiet(tmp_path, "raise KeyboardInterrupt") == (-signal.SIGINT, "", "")


def test_module_receives_arguments_and_reports_errors(tmp_path: Path) -> None:
    code, stdout, stderr = run_quiet(tmp_path, "import sys; print(sys.argv[1:]); 1 / 0", "--clear", "there")
    assert (code, stdout) == (1, "['--clear', 'there']\n")
    assert "ZeroDivisionError" in stderr
