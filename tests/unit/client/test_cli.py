"""The command, as a person or a script meets it: run for real, against a stage."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parley.chat.v1 import account_pb2
from parley_client import InvalidRequest, Violation
from parley_client.cli.words import explain
from servicekit.failure import Failure
from servicekit.validation import check
from tests.eventually import eventually
from tests.unit.client.conftest import Cast

PARLEY = "from parley_command import main; main()"


class Terminal:
    """Runs `parley` with sessions in a folder of its own."""

    def __init__(self, door: str, home: Path) -> None:
        self.environment = {
            **os.environ,
            "PARLEY_DOOR": door,
            "PARLEY_PASSWORD": "password",
            "XDG_CONFIG_HOME": str(home),
            "COLUMNS": "200",
        }

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARLEY, *words),
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        child = await self.begin(*words)
        out, err = await child.communicate(typed.encode())
        return child.returncode or 0, out.decode(), err.decode()

    async def ok(self, *words: str, typed: str = "") -> str:
        code, out, err = await self.run(*words, typed=typed)
        assert (code, err) == (0, "")
        return out

    async def refused(self, *words: str, typed: str = "") -> str:
        code, _, err = await self.run(*words, typed=typed)
        assert code == 1
        assert "Traceback" not in err
        return err


@asynccontextmanager
async def open_chat(terminal: Terminal, cast: Cast, peer: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A chat that is connected, and whose pipe stays open."""
    chat = await terminal.begin("chat", peer, "--as", "alice")
    try:
        await eventually(lambda: cast.stage.streams)
        yield chat
    finally:
        if chat.returncode is None:
            chat.kill()
        await chat.communicate()


async def end_of(chat: asyncio.subprocess.Process) -> tuple[int, str]:
    """Its exit code and complaint, though nobody closed its pipe."""
    assert chat.stderr is not None
    async with asyncio.timeout(20):
        complaint = (await chat.stderr.read()).decode()
        return await chat.wait(), complaint


@pytest.fixture
def terminal(cast: Cast, tmp_path: Path) -> Terminal:
    return Terminal(cast.door, tmp_path)


async def test_from_the_first_account_to_a_conversation(terminal: Terminal) -> None:
    await terminal.ok("register", "alice", "--display-name", "Alice")
    await terminal.ok("register", "bob")
    assert "sent" in await terminal.ok("send", "bob", "hello", "bob", "--as", "alice")
    await terminal.ok("chat", "alice", "--as", "bob", typed="from a pipe\nand another\n")
    lines = (await terminal.ok("history", "bob", "--as", "alice")).splitlines()
    assert [line[6:] for line in lines] == ["Alice  hello bob", "bob  from a pipe", "bob  and another"]
    assert "2 unread" in await terminal.ok("chat", "--as", "alice")


async def test_further_lines_of_a_message_are_set_in(terminal: Terminal) -> None:
    await terminal.ok("register", "alice")
    await terminal.ok("register", "bob")
    await terminal.ok("send", "bob", "one\ntwo", "--as", "alice")
    assert "alice  one\n      two\n" in await terminal.ok("history", "bob", "--as", "alice")


async def test_its_version(terminal: Terminal) -> None:
    assert re.fullmatch(r"parley \d+\.\d+\.\d+\S*\n", await terminal.ok("--version"))


async def test_groups(terminal: Terminal) -> None:
    await terminal.ok("register", "bob")
    await terminal.ok("register", "alice")
    await terminal.ok("groups", "create", "The three", "bob", "--as", "alice")
    assert "The three" in await terminal.ok("groups", "list", "--as", "bob")
    await terminal.ok("send", "--group", "the three", "hi", "--as", "bob")
    told = json.loads(await terminal.ok("history", "--group", "The three", "--as", "alice", "--json"))
    assert told["message_appended"]["content"]["text"]["body"] == "hi"


async def test_who_one_is(terminal: Terminal) -> None:
    assert "parley register" in await terminal.refused("whoami")
    await terminal.ok("register", "alice")
    assert json.loads(await terminal.ok("whoami", "--json"))["login_name"] == "alice"
    await terminal.ok("register", "bob")
    assert "--as NAME" in await terminal.refused("whoami")
    await terminal.ok("logout", "--as", "bob")
    await terminal.ok("whoami")


async def test_a_refusal_is_a_sentence(terminal: Terminal) -> None:
    await terminal.ok("register", "alice")
    assert "taken" in await terminal.refused("register", "alice")
    assert "no user nobody" in await terminal.refused("send", "nobody", "hello")
    assert "no group" in await terminal.refused("send", "--group", "none", "hello")
    assert "make run" in await terminal.refused("whoami", "--door", "127.0.0.1:9")
    assert "UTF-8" in await terminal.refused("send", "alice", "\udcff")


async def test_groups_of_one_title_are_told_apart_by_their_ids(terminal: Terminal) -> None:
    await terminal.ok("register", "bob")
    await terminal.ok("register", "alice")
    made = [
        json.loads(await terminal.ok("groups", "create", "Twins", "bob", "--as", "alice", "--json")) for _ in range(2)
    ]
    first, second = ids = [group["conversation_id"] for group in made]
    listed = await terminal.ok("groups", "list", "--as", "bob")
    refusal = await terminal.refused("send", "--group", "Twins", "hi", "--as", "bob")
    assert all(each in listed and each in refusal for each in ids)
    await terminal.ok("send", "--group", second, "hi", "--as", "bob")
    assert "hi" in await terminal.ok("history", "--group", second, "--as", "alice")
    assert "Nothing" in await terminal.ok("history", "--group", first, "--as", "alice")


async def test_a_damaged_session_is_named_with_what_to_do(terminal: Terminal, tmp_path: Path) -> None:
    await terminal.ok("register", "alice")
    session = tmp_path / "parley" / "alice.json"
    session.write_text("{")
    for command in (("whoami",), ("login", "alice"), ("logout",)):
        said = await terminal.refused(*command)
        assert f"{session} holds no session of Parley; remove it and sign in again" in said
    session.unlink()
    await terminal.ok("login", "alice")


async def test_a_password_comes_from_a_pipe_without_a_warning(terminal: Terminal) -> None:
    del terminal.environment["PARLEY_PASSWORD"]
    await terminal.ok("register", "alice", typed="correct horse\n")
    await terminal.ok("login", "alice", typed="correct horse")
    assert "is wrong" in await terminal.refused("login", "alice", typed="wrong\n")
    code, _, err = await terminal.run("login", "alice")
    assert code == 2
    assert "PARLEY_PASSWORD" in err


@pytest.mark.parametrize(
    "door", ["http://127.0.0.1:8080", "localhost:abc", "localhost", ":8080", "::1:80", "host:0", "h:65536"]
)
async def test_a_door_that_is_no_host_and_port_is_refused_at_once(terminal: Terminal, door: str) -> None:
    code, _, err = await terminal.run("whoami", "--door", door)
    assert code == 2
    assert f"“{door}” is not HOST:PORT" in err


async def test_certificates_that_are_none_are_refused_at_once(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_text("no certificate")
    code, _, err = await terminal.run("whoami", "--ca", str(file))
    assert code == 2
    assert "holds no certificates in PEM" in err


async def test_tls_where_there_is_none_is_told_in_one_sentence(terminal: Terminal) -> None:
    terminal.environment.pop("GRPC_VERBOSITY", None)
    said = await terminal.refused("login", "alice", "--tls")
    assert "no TLS connection comes about" in said
    assert len(said.splitlines()) == 1


async def test_a_host_that_is_none_is_named(terminal: Terminal) -> None:
    assert "no such host: host.invalid" in await terminal.refused("login", "alice", "--door", "host.invalid:8080")


def test_broken_rules_are_said_in_words() -> None:
    with pytest.raises(Failure) as refused:
        check(account_pb2.RegisterRequest(login_name="a b", password="short"))
    broken = tuple(Violation(each.field, each.description) for each in refused.value.violations)
    assert explain(InvalidRequest("", violations=broken), "") == (
        "A login name has 3 to 64 letters (a to z), digits, dots, underscores and hyphens, "
        "and begins with a letter or a digit. The password must be at least 8 bytes."
    )


async def test_control_characters_of_others_do_not_reach_the_terminal(terminal: Terminal) -> None:
    await terminal.ok("register", "alice")
    await terminal.ok("register", "bob", "--display-name", "b\x1b[31mob")
    await terminal.ok("send", "alice", "\x1b]0;title\x07boo", "--as", "bob")
    assert "\x1b" not in await terminal.ok("history", "bob", "--as", "alice")


async def test_a_send_by_call_leaves_an_open_chat_alone(terminal: Terminal, cast: Cast) -> None:
    await terminal.ok("register", "bob")
    await terminal.ok("register", "alice")
    async with open_chat(terminal, cast, "bob") as chat:
        assert "sent" in await terminal.ok("send", "bob", "hello", "--as", "alice")
        assert chat.stdin is not None
        chat.stdin.write(b"and from here\n")
        chat.stdin.close()
        assert await end_of(chat) == (0, "")
    said = await terminal.ok("history", "bob", "--as", "alice")
    assert [line[13:] for line in said.splitlines()] == ["hello", "and from here"]


async def test_a_chat_whose_sign_in_is_opened_elsewhere_ends_with_a_sentence(terminal: Terminal, cast: Cast) -> None:
    await terminal.ok("register", "bob")
    await terminal.ok("register", "alice")
    async with open_chat(terminal, cast, "bob") as chat:
        await terminal.ok("chat", "bob", "--as", "alice", typed="I am here now\n")
        code, complaint = await end_of(chat)
        assert code == 1
        assert "opened elsewhere" in complaint
    assert len(cast.stage.connects) == 2


async def test_a_chat_from_a_pipe_can_be_interrupted(terminal: Terminal, cast: Cast) -> None:
    await terminal.ok("register", "bob")
    await terminal.ok("register", "alice")
    async with open_chat(terminal, cast, "bob") as chat:
        chat.send_signal(signal.SIGINT)
        assert await end_of(chat) == (130, "")
