"""The grpcurl commands of the README work, through the door and directly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from devstack.stack import Stack

pytestmark = pytest.mark.scenario

README = Path(__file__).parents[2] / "README.md"


def lines_of_the_readme(stack: Stack) -> str:
    """Return the commands under "With grpcurl", with the addresses of this stack."""
    block = re.search(r"## With grpcurl.*?```\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    return (
        block[1]
        .replace("127.0.0.1:8080", stack.door)
        .replace("127.0.0.1:5101", stack.chat_servers[0].address)
        .replace(".venv/bin/grpcurl", str(Path(sys.executable).with_name("grpcurl")))
        .replace('"dora"', f'"dora-{uuid4().hex[:8]}"')
    )


def test_readme_grpcurl_commands_work(stack: Stack) -> None:
    lines = lines_of_the_readme(stack)
    assert lines.count("grpcurl") >= 4
    # A device that only listens stays connected: that line is ended by us.
    lines = lines.replace("grpcurl -plaintext -H", "grpcurl -max-time 2 -plaintext -H")
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, timeout=60, check=False)
    assert '"home": "127.0.0.1:' in done.stdout, done.stderr
    assert '"welcome"' in done.stdout, done.stderr
    assert '"resync": "RESYNC_NO_CURSOR"' in done.stdout, done.stderr


def test_call_without_token_is_refused_by_door_and_server(stack: Stack) -> None:
    for address in (stack.door, stack.chat_servers[0].address):
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("grpcurl")),
                "-plaintext",
                address,
                "parley.chat.v1.ChatService/Locate",
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "Unauthenticated" in done.stderr
        # Reflection describes the details.
        assert '"domain":"parley","reason":"TOKEN_MISSING"' in done.stderr
        assert "not recognized" not in done.stderr


def test_door_and_server_serve_reflection(stack: Stack) -> None:
    for address in (stack.door, stack.chat_servers[0].address):
        listed = subprocess.run(
            [str(Path(sys.executable).with_name("grpcurl")), "-plaintext", address, "list"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        assert "parley.chat.v1.ChatService" in listed
        assert "internal" not in listed
