"""The output of `make run` when it refuses to start: only the reason."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devstack.__main__ import app
from devstack.display import PlainDisplay
from devstack.errors import PortInUse, SetupError
from devstack.launcher import launch
from devstack.ports import LOOPBACK, PortBlock, Ports


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


def test_unknown_log_level_is_refused_before_start(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["run", "--log-level", "loud", "--folder", str(tmp_path / "new")])
    assert refused.exit_code == 2
    assert "--log-level" in refused.output
    assert not (tmp_path / "new").exists()
