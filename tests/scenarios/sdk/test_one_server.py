"""The demo on one chat server fails its mesh check, because no message crosses between servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from devstack.services import CHAT
from devstack.stack import Stack
from parley_client.demo import run_demo
from tests.scenarios.conftest import ENVIRONMENT

pytestmark = pytest.mark.scenario

PARLEY = (sys.executable, "-c", "from parley_command import main; main()")


@pytest.fixture(scope="module")
def lonely_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("lonely"), chat_servers=1, services=(CHAT,), environment=ENVIRONMENT) as stack:
        yield stack


async def test_demo_against_one_server_breaks_only_mesh_check(lonely_stack: Stack) -> None:
    report = await run_demo(lonely_stack.door, sends=5)
    assert report.broken == ["mesh"]
    [verdict] = [each for each in report.verdicts if not each.kept]
    [server] = lonely_stack.chat_servers
    assert verdict.detail == f"only one server was seen ({server.address}): the demo needs two chat servers"


async def test_demo_command_against_one_server_exits_with_1(lonely_stack: Stack) -> None:
    command = (*PARLEY, "demo", "--door", lonely_stack.door, "--sends", "1")
    pipe = asyncio.subprocess.PIPE
    demo = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await demo.communicate()
    assert demo.returncode == 1
    assert "✗ mesh" in out.decode()
    assert "only one server was seen" in out.decode()
    assert "Broken: mesh." in err.decode()
    assert "Traceback" not in err.decode()
