"""The command without a server, and its explanations of refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parley.chat.v1 import account_pb2
from parley_client import InvalidRequest, Violation
from parley_client.cli.errors import explain_error
from servicekit.failure import Failure
from servicekit.validation import check
from tests.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal("127.0.0.1:9", tmp_path, "password")


async def test_version_option_prints_version(terminal: Terminal) -> None:
    assert re.fullmatch(r"parley \d+\.\d+\.\d+\S*\n", await terminal.ok("--version"))


@pytest.mark.parametrize(
    "door", ["http://127.0.0.1:8080/path", "localhost:abc", "localhost", ":8080", "::1:80", "host:0", "h:65536"]
)
async def test_door_without_host_and_port_is_refused(terminal: Terminal, door: str) -> None:
    code, _, err = await terminal.run("whoami", "--door", door)
    assert code == 2
    assert f"“{door}” is not HOST:PORT" in err


async def test_ca_file_without_certificates_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_text("no certificate")
    code, _, err = await terminal.run("whoami", "--ca", str(file))
    assert code == 2
    assert "contains no PEM certificates" in err


async def test_unknown_host_is_named(terminal: Terminal) -> None:
    assert "no such host: host.invalid" in await terminal.refused("login", "alice", "--door", "host.invalid:8080")


def test_violations_are_explained_in_sentences() -> None:
    with pytest.raises(Failure) as refused:
        check(account_pb2.RegisterRequest(login_name="a b", password="short"))
    broken = tuple(Violation(each.field, each.description) for each in refused.value.violations)
    assert explain_error(InvalidRequest("", violations=broken), "") == (
        "A login name has 3 to 64 letters (a to z), digits, dots, underscores and hyphens, "
        "and starts with a letter or a digit. The password must be at least 8 bytes."
    )
