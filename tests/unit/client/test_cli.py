"""The command without a server, and its explanations of refusals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from parley.chat.v1 import account_pb2
from parley_client import InvalidRequest, Violation
from parley_client.cli.app import app
from parley_client.cli.errors import explain_error
from servicekit.failure import Failure
from servicekit.validation import check
from tests.terminal import Terminal

# A word in capitals, optional in brackets, required in braces, or repeated with an ellipsis.
WORD = r"(\[[A-Z]+\]|\{[A-Z]+\}|[A-Z]+)(…|\.\.\.)?"


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, `groups create` for example."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


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


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("must be at least 1 bytes", "The body is empty."),
        ("must be at least 8 bytes", "The body must be at least 8 bytes."),
        ("must be one emoji", "The body is not a single emoji."),
    ],
)
def test_violation_reads_as_a_sentence(description: str, sentence: str) -> None:
    violations = (Violation("content.text.body", description),)
    assert explain_error(InvalidRequest("", violations=violations), "") == sentence


@pytest.mark.parametrize("words", list(commands(get_command(app))), ids=" ".join)
def test_usage_names_each_argument_in_capitals(words: tuple[str, ...]) -> None:
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--help"], prog_name="parley").output
    usage = next(line for line in shown.splitlines() if "Usage:" in line)
    assert re.fullmatch(rf" *Usage: parley {' '.join(words)} \[OPTIONS\]( {WORD})* *", usage)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("push preferences --scope some", "'--scope': 'some' is not one of 'all', 'mentions', 'none'."),
        ("chat --pictures ascii", "'ascii' is not one of 'auto', 'kitty', 'blocks', 'off'."),
        ("groups role Friday bob owner", "'ROLE': 'owner' is not one of 'admin', 'member'."),
        ("history bob --limit many", "'--limit' / '-n': 'many' is not a whole number."),
        ("history bob --limit 0", "'--limit' / '-n': '0' is less than 1."),
        (f"send bob hello --reply-to {2**63}", f"'--reply-to': '{2**63}' is greater than {2**63 - 1}."),
    ],
)
async def test_wrong_value_is_refused_in_a_sentence(terminal: Terminal, words: str, sentence: str) -> None:
    code, out, err = await terminal.run(*words.split())
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Value error" not in err
    assert "Input should" not in err


async def test_wrong_value_of_a_variable_is_refused_in_a_sentence(terminal: Terminal) -> None:
    terminal.environment["PARLEY_TLS"] = "perhaps"
    assert "(env var: 'PARLEY_TLS'): 'perhaps' is neither true nor false." in (await terminal.run("whoami"))[2]


@pytest.mark.parametrize(("command", "seq"), [("edit", "0"), ("delete", "two"), ("react", str(2**63))])
async def test_seq_of_no_message_is_explained(terminal: Terminal, command: str, seq: str) -> None:
    assert "SEQ must be the number of a message" in await terminal.refused(command, "bob", seq, "👍")


@pytest.mark.parametrize("words", [("send", "bob", "  "), ("edit", "bob", "2", " "), ("send", "bob", "-")])
async def test_blank_text_is_refused(terminal: Terminal, words: tuple[str, ...]) -> None:
    assert "text is missing" in await terminal.refused(*words, typed=" \n")
