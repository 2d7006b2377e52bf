"""The commands that change things, for a person and as JSON for a program."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.client.conftest import Cast
from tests.unit.client.test_cli import Terminal


@pytest.fixture
async def terminal(cast: Cast, tmp_path: Path) -> Terminal:
    terminal = Terminal(cast.door, tmp_path)
    for name in ("bob", "alice"):
        await terminal.ok("register", name)
    terminal.environment["PARLEY_AS"] = "alice"
    return terminal


async def told(terminal: Terminal, *words: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(await terminal.ok(*words, "--json"))
    return answer


async def test_a_message_is_answered_edited_reacted_to_and_deleted(terminal: Terminal) -> None:
    first = await told(terminal, "send", "bob", "helo")
    seq = str(first["seq"])
    assert "edited" in await terminal.ok("edit", "bob", seq, "hello", "there")
    await terminal.ok("send", "bob", "an answer", "--reply-to", seq)
    await told(terminal, "react", "bob", seq, "👍")
    listed = await terminal.ok("history", "bob", "--seqs")
    assert re.search(rf"^ +{seq}  ..:.. alice  hello there \(edited\)  👍$", listed, re.MULTILINE)
    raw = [json.loads(each) for each in (await terminal.ok("history", "bob", "--json")).splitlines()]
    assert raw[0]["message_appended"]["reactions"][0]["emoji"] == "👍"
    assert raw[1]["message_appended"]["content"]["reply_to_seq"] == seq
    assert "taken back" in await terminal.ok("react", "bob", seq)
    assert (await told(terminal, "delete", "bob", seq, "--for-me"))["seq"] is None
    assert seq not in [each[:5].strip() for each in (await terminal.ok("history", "bob", "--seqs")).splitlines()]
    assert await terminal.refused("edit", "alice", seq, "x", "--as", "bob") == "Only its author may edit a message.\n"
    assert "no such message" in await terminal.refused("delete", "bob", "999")
    assert "--seqs" in await terminal.refused("edit", "bob", "hello")


async def test_a_group_is_changed(terminal: Terminal) -> None:
    await terminal.ok("groups", "create", "Friday", "bob")
    await terminal.ok("register", "carol", "--display-name", "Carol")
    assert "carol can read" in await terminal.ok("groups", "add", "Friday", "carol")
    await terminal.ok("groups", "role", "Friday", "bob", "admin")
    await terminal.ok("groups", "rename", "Friday", "Saturday", "--as", "bob")
    assert set(await told(terminal, "groups", "remove", "Saturday", "carol")) == {"conversation_id"}
    assert "Only admins" not in await terminal.ok("groups", "list")
    assert "left “Saturday”" in await terminal.ok("groups", "leave", "saturday")
    assert "in no group" in await terminal.refused("groups", "leave", "Saturday")


async def test_who_cannot_be_added_is_named_and_why_in_words_that_are_true_of_blocks_and_of_privacy(
    terminal: Terminal,
) -> None:
    await terminal.ok("register", "carol")
    await terminal.ok("groups", "create", "Friday", "bob")
    await terminal.ok("privacy", "--who-may-add", "nobody", "--as", "carol")
    for command in (("create", "Sunday", "bob", "carol"), ("add", "Friday", "carol")):
        assert await terminal.refused("groups", *command) == (
            "carol cannot be added by you: carol does not allow it, or one of you has blocked the other.\n"
        )
    assert "carol is not a member" in await terminal.refused("groups", "role", "Friday", "carol", "admin")


async def test_what_users_wrote_is_printed_as_they_wrote_it(terminal: Terminal) -> None:
    title = "[bold]T:cat:[/nothing]"
    assert f"“{title}” has 2 members" in await terminal.ok("groups", "create", title, "bob")
    assert title in await terminal.ok("groups", "list")
    assert title in await terminal.ok("groups", "rename", title, f"{title}:dog:")
    assert ":dog:" in await terminal.ok("conversations")
    await terminal.ok("send", "bob", ":cat: [red]")
    assert ":cat: [red]" in await terminal.ok("history", "bob")
    assert "“:cat:[b]”" in await terminal.refused("groups", "leave", ":cat:[b]")


async def test_search(terminal: Terminal) -> None:
    for text in ("the red door", "a red hat", "nothing"):
        await terminal.ok("send", "bob", text)
    found = [json.loads(each) for each in (await terminal.ok("search", "red", "--json")).splitlines()]
    assert len(found) == 2
    assert "red door" in await terminal.ok("search", "door", "red", "--with", "bob")
    assert "Nothing was found" in await terminal.ok("search", "green")


async def test_devices_passwords_and_blocks(terminal: Terminal, tmp_path: Path) -> None:
    here = await told(terminal, "whoami")
    terminal.environment["XDG_CONFIG_HOME"] = str(tmp_path / "elsewhere")
    there = await told(terminal, "login", "alice")
    listed = await terminal.ok("devices", "list")
    assert listed.count("(this machine)") == 1
    assert "parley logout" in await terminal.refused("devices", "revoke", str(there["device_id"]))
    assert await told(terminal, "devices", "revoke", str(here["device_id"])[:12]) == {"device_id": here["device_id"]}
    terminal.environment["PARLEY_NEW_PASSWORD"] = "better than before"
    assert await told(terminal, "password") == {"login_name": "alice"}
    assert await terminal.refused("password") == "The old password is wrong.\n"
    assert "parley register" not in await terminal.refused("delete-account", "--yes")
    assert "blocked" in await terminal.ok("block", "bob")
    assert (await told(terminal, "blocked"))["display_name"] == "bob"
    assert (await told(terminal, "unblock", "bob"))["blocked"] is False
    assert await told(terminal, "logout") == {"login_name": "alice"}


async def test_a_device_without_a_name_is_called_by_its_id(terminal: Terminal, cast: Cast) -> None:
    cast.stage.device_names = ""
    nameless = await cast.client("alice")
    assert nameless.session
    told_of = await terminal.ok("devices", "revoke", nameless.session.device_id)
    assert told_of == f"The device {nameless.session.device_id[:8]} is signed out.\n"


async def test_an_export_is_a_whole_file_or_none(terminal: Terminal, tmp_path: Path) -> None:
    archive = tmp_path / "me.zip"
    assert (await told(terminal, "export", str(archive)))["bytes"] == 16
    assert archive.read_bytes() == b"PK first, second"
    assert archive.stat().st_mode & 0o077 == 0
    assert await terminal.ok("export", "-") == "PK first, second"
    assert f"no folder {tmp_path / 'nowhere'}" in await terminal.refused("export", str(tmp_path / "nowhere" / "me.zip"))
    assert "is a folder" in await terminal.refused("export", str(tmp_path))


async def test_conversations_are_listed(terminal: Terminal) -> None:
    await terminal.ok("send", "bob", "hello")
    assert "alice  (1 unread)" in await terminal.ok("conversations", "--as", "bob")
    assert (await told(terminal, "conversations", "--as", "bob"))["unread_count"] == "1"


async def test_privacy_and_the_end_of_an_account(terminal: Terminal) -> None:
    assert "everyone" in await terminal.ok("privacy")
    told_of = await told(terminal, "privacy", "--who-may-add", "contacts", "--found")
    assert told_of == {"who_may_add": "WHO_MAY_ADD_CONTACTS", "found_by_search": True}
    assert "contacts" in await terminal.ok("privacy")
    assert "--yes" in await terminal.refused("delete-account")
    assert "is no more" in await terminal.ok("delete-account", "--yes")
    assert "not signed in" in await terminal.refused("whoami")


async def test_to_look_makes_no_conversation(terminal: Terminal) -> None:
    assert "have not said anything to each other" in await terminal.refused("history", "bob")
    assert "have not said anything to each other" in await terminal.refused("edit", "bob", "1", "hello")
    await terminal.ok("send", "bob", "hello")
    assert "hello" in await terminal.ok("history", "bob")


@pytest.mark.parametrize("seq", [str(2**63), "9" * 40])
async def test_no_message_has_such_a_number(terminal: Terminal, seq: str) -> None:
    await terminal.ok("send", "bob", "hello")
    assert "SEQ" in await terminal.refused("edit", "bob", seq, "x")
    assert "SEQ" in await terminal.refused("delete", "bob", seq)
    code, _, err = await terminal.run("send", "bob", "x", "--reply-to", seq)
    assert (code, "Traceback" in err) == (2, False)


async def test_a_program_is_told_where_it_went_as_the_contract_has_it(terminal: Terminal) -> None:
    sent = await told(terminal, "send", "bob", "hello")
    assert sent.keys() == {"conversation_id", "seq", "create_time"}
    assert isinstance(sent["seq"], str)
