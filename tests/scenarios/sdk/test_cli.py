"""The command, used interactively and by scripts, on a running system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.proxy.rpc import Proxy
from tests.scenarios.sdk.people import People
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


async def test_two_registered_users_exchange_messages(terminal: Terminal, people: People) -> None:
    alice, bob = people.login_name("alice"), people.login_name("bob")
    await terminal.ok("register", alice, "--display-name", "Alice")
    await terminal.ok("register", bob)
    assert "sent" in await terminal.ok("send", bob, "hello", "bob", "--as", alice)
    await terminal.ok("chat", alice, "--as", bob, typed="from a pipe\nand another\n")
    lines = (await terminal.ok("history", bob, "--as", alice)).splitlines()
    assert [line[6:] for line in lines] == ["Alice  hello bob", f"{bob}  from a pipe", f"{bob}  and another"]
    assert "2 unread" in await terminal.ok("chat", "--as", alice)


async def test_continuation_lines_of_message_are_indented(terminal: Terminal, people: People) -> None:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    await terminal.ok("send", bob, "one\ntwo", "--as", alice)
    assert "alice  one\n      two\n" in await terminal.ok("history", bob, "--as", alice)


async def test_group_is_created_listed_and_messaged(terminal: Terminal, people: People) -> None:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    await terminal.ok("groups", "create", "The three", bob, "--as", alice)
    assert "The three" in await terminal.ok("groups", "list", "--as", bob)
    await terminal.ok("send", "--group", "the three", "hi", "--as", bob)
    told = json.loads(await terminal.ok("history", "--group", "The three", "--as", alice, "--json"))
    assert told["message_appended"]["content"]["text"]["body"] == "hi"


async def test_user_option_is_required_only_with_several_accounts(terminal: Terminal, people: People) -> None:
    assert "parley register" in await terminal.refused("whoami")
    [alice] = await people.sign_in(terminal, "alice")
    assert json.loads(await terminal.ok("whoami", "--json"))["login_name"] == alice
    [bob] = await people.sign_in(terminal, "bob")
    assert "--as NAME" in await terminal.refused("whoami")
    await terminal.ok("logout", "--as", bob)
    await terminal.ok("whoami")


async def test_refused_command_prints_one_sentence(terminal: Terminal, people: People) -> None:
    alice, nobody = people.login_name("alice"), people.login_name("nobody")
    await terminal.ok("register", alice)
    assert "in use" in await terminal.refused("register", alice)
    assert f"no user {nobody}" in await terminal.refused("send", nobody, "hello")
    assert "no group" in await terminal.refused("send", "--group", "none", "hello")
    assert "make run" in await terminal.refused("login", alice, "--door", "127.0.0.1:9")
    assert "That is you" in await terminal.refused("send", alice, "hello")
    bob = (await people.session("bob")).login_name
    assert "UTF-8" in await terminal.refused("send", bob, "\udcff")


async def test_groups_with_same_title_are_distinguished_by_id(terminal: Terminal, people: People) -> None:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    made = [json.loads(await terminal.ok("groups", "create", "Twins", bob, "--as", alice, "--json")) for _ in range(2)]
    first, second = ids = [group["conversation_id"] for group in made]
    listed = await terminal.ok("groups", "list", "--as", bob)
    refusal = await terminal.refused("send", "--group", "Twins", "hi", "--as", bob)
    assert all(each in listed and each in refusal for each in ids)
    await terminal.ok("send", "--group", second, "hi", "--as", bob)
    assert "hi" in await terminal.ok("history", "--group", second, "--as", alice)
    assert "Nothing" in await terminal.ok("history", "--group", first, "--as", alice)


async def test_damaged_session_file_is_reported_with_remedy(terminal: Terminal, people: People, tmp_path: Path) -> None:
    [alice] = await people.sign_in(terminal, "alice")
    session = tmp_path / "parley" / f"{alice}.json"
    session.write_text("{")
    for command in (("whoami",), ("login", alice), ("logout",)):
        said = await terminal.refused(*command)
        assert f"{session} holds no session of Parley; remove it and sign in again" in said
    session.unlink()
    await terminal.ok("login", alice)


async def test_revoked_device_is_told_to_sign_in_again(terminal: Terminal, people: People, tmp_path: Path) -> None:
    [alice] = await people.sign_in(terminal, "alice")
    laptop = await people.client("alice")
    device_id = json.loads(await terminal.ok("whoami", "--json"))["device_id"]
    await laptop.accounts.revoke_device(device_id)
    assert "You were signed out. Sign in again with `parley login" in await terminal.refused("conversations")
    assert list((tmp_path / "parley").glob("*.json")) == []
    assert "Nobody is signed in here" in await terminal.refused("conversations")
    await terminal.ok("login", alice)
    await terminal.ok("conversations")


async def test_session_is_used_at_its_own_door(terminal: Terminal, people: People, proxy: Proxy) -> None:
    [alice] = await people.sign_in(terminal, "alice")
    async with Proxy(proxy.address) as other:
        del terminal.environment["PARLEY_DOOR"]
        assert json.loads(await terminal.ok("whoami", "--json"))["door"] == proxy.address
        refusal = await terminal.refused("whoami", "--door", other.address)
        assert f"belongs to {proxy.address}, so it was not sent to {other.address}" in refusal
        assert other.calls == []
        await terminal.ok("login", alice, "--door", other.address)
        assert json.loads(await terminal.ok("whoami", "--json"))["door"] == other.address
        await terminal.ok("move-session", "--door", proxy.address)
        other.calls.clear()
        assert json.loads(await terminal.ok("whoami", "--json"))["door"] == proxy.address
        assert other.calls == []
        assert "--door" in await terminal.refused("move-session")


async def test_password_is_read_from_pipe_without_warning(terminal: Terminal, people: People) -> None:
    alice = people.login_name("alice")
    del terminal.environment["PARLEY_PASSWORD"]
    await terminal.ok("register", alice, typed="correct horse\n")
    await terminal.ok("login", alice, typed="correct horse")
    assert "is wrong" in await terminal.refused("login", alice, typed="wrong\n")
    code, _, err = await terminal.run("login", alice)
    assert code == 2
    assert "PARLEY_PASSWORD" in err


async def test_tls_to_plaintext_door_fails_with_one_sentence(terminal: Terminal) -> None:
    terminal.environment.pop("GRPC_VERBOSITY", None)
    said = await terminal.refused("login", "alice", "--tls")
    assert "The TLS handshake with" in said
    assert len(said.splitlines()) == 1


async def test_control_characters_in_received_text_are_not_printed(terminal: Terminal, people: People) -> None:
    await people.old_client("bob", "b\x1b[31mob")
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    await terminal.ok("send", alice, "\x1b]0;title\x07boo", "--as", bob)
    listed = await terminal.ok("history", bob, "--as", alice)
    assert "boo" in listed
    assert "\x1b" not in listed
