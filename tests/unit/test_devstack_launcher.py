"""The output of `make run` when it refuses to start: only the reason."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.__main__ import main
from devstack.display import PlainDisplay
from devstack.errors import PortInUse, SetupError
from devstack.launcher import launch
from devstack.options import parse_options
from devstack.ports import LOOPBACK, PortBlock, Ports

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ports() -> Iterator[Ports]:
    block = PortBlock()
    yield block.ports
    block.release()


def test_refused_start_prints_only_the_reason(tmp_path: Path, ports: Ports, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((LOOPBACK, ports.etcd)), pytest.raises(SetupError) as caught:
        launch(tmp_path, ports, 0, {}, PlainDisplay())
    assert str(caught.value).startswith(str(PortInUse(ports.etcd, "etcd")))
    assert capsys.readouterr().out == ""


def test_refused_start_removes_folder_it_created(tmp_path: Path, ports: Ports) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    for folder in (old, new):
        with socket.create_server((LOOPBACK, ports.etcd)), pytest.raises(SetupError):
            launch(folder, ports, 0, {}, PlainDisplay())
    assert old.exists()
    assert not new.exists()


def test_unknown_log_level_is_refused_before_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--log-level", "loud", "--folder", str(tmp_path / "new")])
    assert refused.value.code == 2
    assert "--log-level" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--chat-servers", "21"],
        ["--chat-servers", "-1"],
        ["--port", "0"],
        ["--media-port", "65536"],
        ["--base-port", "65336"],
    ],
)
def test_number_out_of_bounds_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse_options(arguments)
    assert refused.value.code == 2
    assert f"{arguments[0]}: {arguments[1]} is not a number from" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1.1", "half"])
def test_share_of_traces_out_of_bounds_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--trace-ratio", share])
    assert f"{share} is not a number above 0 and up to 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["secrets", "logs", "data", "envoy"])
def test_folder_that_cannot_be_written_is_named_in_a_sentence(tmp_path: Path, ports: Ports, name: str) -> None:
    (tmp_path / name).write_text("a file where a folder is needed")
    with pytest.raises(SystemExit) as refused:
        main(
            [
                "--folder",
                str(tmp_path),
                "--port",
                str(ports.door),
                "--media-port",
                str(ports.media),
                "--base-port",
                str(ports.base),
            ]
        )
    assert re.match(
        rf"Cannot use {tmp_path}/{name}\S*: .*\. Make room there, or name another folder", str(refused.value)
    )


def test_help_needs_the_standard_library_only() -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import sys; sys.path.append('.'); import devstack.options as o; o.parse_options(['--help'])",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--chat-servers N" in answer.stdout


def test_make_prints_the_options_without_an_environment(tmp_path: Path) -> None:
    command = ["make", "--dry-run", "run", "ARGS=--help", f"BIN={tmp_path}", "PYTHON=python3"]
    # Without the options of a make that runs this test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    assert answer.stdout.strip() == "exec python3 -m devstack.options --help"
