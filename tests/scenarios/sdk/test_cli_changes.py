"""The commands that change state, with text and JSON output."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.raw.world import PASSWORD
from tests.scenarios.sdk.people import People
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


@pytest.fixture
async def alice(terminal: Terminal, people: People) -> str:
    """The login name of alice, who runs the commands."""
    [name] = await people.sign_in(terminal, "alice")
    terminal.environment["PARLEY_AS"] = name
    return name


@pytest.fixture
async def bob(terminal: Terminal, people: People) -> str:
    [name] = await people.sign_in(terminal, "bob")
    return name


async def told(terminal: Terminal, *words: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(await terminal.ok(*words, "--json"))
    return answer


async def test_message_is_answered_edited_reacted_to_and_deleted(terminal: Terminal, alice: str, bob: str) -> None:
    first = await told(terminal, "send", bob, "helo")
    seq = str(first["seq"])
    assert "edited" in await terminal.ok("edit", bob, seq, "hello", "there")
    await terminal.ok("send", bob, "an answer", "--reply-to", seq)
    await told(terminal, "react", bob, seq, "👍")
    listed = await terminal.ok("history", bob, "--seqs")
    assert re.search(rf"^ +{seq}  ..:.. alice  hello there \(edited\)  👍$", listed, re.MULTILINE)
    raw = [json.loads(each) for each in (await terminal.ok("history", bob, "--json")).splitlines()]
    assert raw[0]["message_appended"]["reactions"][0]["emoji"] == "👍"
    assert raw[1]["message_appended"]["content"]["reply_to_seq"] == seq
    assert "reaction removed" in await terminal.ok("react", bob, seq)
    assert (await told(terminal, "delete", bob, seq, "--for-me"))["seq"] is None
    assert seq not in [each[:5].strip() for each in (await terminal.ok("history", bob, "--seqs")).splitlines()]
    assert await terminal.refused("edit", alice, seq, "x", "--as", bob) == "Only its author may edit a message.\n"
    assert "no such message" in await terminal.refused("delete", bob, "999")
    assert "--seqs" in await terminal.refused("edit", bob, "hello")


async def test_conversation_is_muted_for_a_time_and_unmuted(terminal: Terminal, alice: str, bob: str) -> None:
    await terminal.ok("send", bob, "hello")
    muted = await terminal.ok("mute", bob, "--for", "8h")
    assert re.fullmatch(r"“bob” is muted until \d{4}-\d\d-\d\d \d\d:\d\d\.\n", muted)
    assert "bob  (muted)\n" in await terminal.ok("conversations")
    assert await terminal.ok("mute", bob, "--off") == "“bob” is not muted.\n"
    assert "(muted)" not in await terminal.ok("conversations")
    end = datetime.fromisoformat(str((await told(terminal, "mute", bob, "--for", "2d"))["mute_until_time"]))
    assert timedelta(hours=47) < end - datetime.now(UTC) <= timedelta(days=2)
    [shown] = [json.loads(each) for each in (await terminal.ok("conversations", "--json")).splitlines()]
    assert datetime.fromisoformat(shown["mute_until_time"]) == end
    assert (await told(terminal, "mute", bob, "--off"))["mute_until_time"] is None
    await terminal.ok("groups", "create", "Friday", bob)
    forever = await terminal.ok("mute", "--group", "friday")
    assert forever == "“Friday” is muted until you unmute it with --off.\n"


async def test_conversation_is_marked_as_read(terminal: Terminal, alice: str, bob: str) -> None:
    for text in ("one", "two"):
        await terminal.ok("send", bob, text)
    listed = ("conversations", "--as", bob)
    assert "alice  (2 unread)\n" in await terminal.ok(*listed)
    assert await terminal.ok("read", alice, "--as", bob) == "2 messages of “alice” are marked as read.\n"
    assert "unread" not in await terminal.ok(*listed)
    assert await terminal.ok("read", alice, "--as", bob) == "“alice” had nothing unread.\n"
    seq = (await told(terminal, "send", bob, "three"))["seq"]
    assert (await told(terminal, "read", alice, "--as", bob))["read_seq"] == seq
    await terminal.ok("groups", "create", "Friday", bob)
    await terminal.ok("send", "--group", "Friday", "hello")
    read = await terminal.ok("read", "--group", "Friday", "--as", bob)
    assert read == "1 message of “Friday” is marked as read.\n"


async def test_wrong_words_of_mute_and_read_are_refused(terminal: Terminal, alice: str, bob: str) -> None:
    for time in ("8", "0h", "-1h", "8 h", "1y", ""):
        code, _, err = await terminal.run("mute", bob, "--for", time)
        assert code == 2
        assert f"“{time}” is not a time such as 30m, 8h, 2d or 1w." in err
    code, _, err = await terminal.run("mute", bob, "--for", "8h", "--off")
    assert code == 2
    assert "Use --for or --off, not both." in err
    for command in ("mute", "read"):
        assert "Name a user (NAME) or a group" in await terminal.refused(command)
        assert "have not said anything to each other yet" in await terminal.refused(command, bob)
        assert "There is no user" in await terminal.refused(command, "nobody-of-that-name")


async def test_group_members_roles_and_title_are_changed(
    terminal: Terminal, people: People, alice: str, bob: str
) -> None:
    await terminal.ok("groups", "create", "Friday", bob)
    carol = (await people.session("carol")).login_name
    assert f"{carol} can read" in await terminal.ok("groups", "add", "Friday", carol)
    await terminal.ok("groups", "role", "Friday", bob, "admin")
    await terminal.ok("groups", "rename", "Friday", "Saturday", "--as", bob)
    assert set(await told(terminal, "groups", "remove", "Saturday", carol)) == {"conversation_id"}
    assert "Only admins" not in await terminal.ok("groups", "list")
    assert "left “Saturday”" in await terminal.ok("groups", "leave", "saturday")
    assert "not a member of it" in await terminal.refused("groups", "leave", "Saturday")
    assert "in no group" in await terminal.refused("groups", "leave", "Sunday")


async def test_refused_member_is_named_without_revealing_block_or_privacy(
    terminal: Terminal, people: People, alice: str, bob: str
) -> None:
    [carol] = await people.sign_in(terminal, "carol")
    await terminal.ok("groups", "create", "Friday", bob)
    await terminal.ok("privacy", "--who-may-add", "nobody", "--as", carol)
    for command in (("create", "Sunday", bob, carol), ("add", "Friday", carol)):
        assert await terminal.refused("groups", *command) == (
            f"You cannot add {carol}: {carol} does not allow it, or one of you has blocked the other.\n"
        )
    assert f"{carol} is not a member" in await terminal.refused("groups", "role", "Friday", carol, "admin")


async def test_message_text_is_printed_unchanged(terminal: Terminal, alice: str, bob: str) -> None:
    title = "[bold]T:cat:[/nothing]"
    assert f"“{title}” has 2 members" in await terminal.ok("groups", "create", title, bob)
    assert title in await terminal.ok("groups", "list")
    assert title in await terminal.ok("groups", "rename", title, f"{title}:dog:")
    assert ":dog:" in await terminal.ok("conversations")
    await terminal.ok("send", bob, ":cat: [red]")
    assert ":cat: [red]" in await terminal.ok("history", bob)
    assert "“:cat:[b]”" in await terminal.refused("groups", "leave", ":cat:[b]")


async def test_search_covers_all_conversations_or_one(terminal: Terminal, alice: str, bob: str) -> None:
    for text in ("the red door", "a red hat", "nothing"):
        await terminal.ok("send", bob, text)
    found = [json.loads(each) for each in (await terminal.ok("search", "red", "--json")).splitlines()]
    assert len(found) == 2
    assert "red door" in await terminal.ok("search", "door", "red", "--with", bob)
    assert "Nothing was found" in await terminal.ok("search", "green")


async def test_devices_passwords_and_blocks_are_managed(
    terminal: Terminal, tmp_path: Path, alice: str, bob: str
) -> None:
    here = await told(terminal, "whoami")
    terminal.environment["XDG_CONFIG_HOME"] = str(tmp_path / "elsewhere")
    there = await told(terminal, "login", alice)
    listed = await terminal.ok("devices", "list")
    assert listed.count("(this machine)") == 1
    assert "parley logout" in await terminal.refused("devices", "revoke", str(there["device_id"]))
    assert await told(terminal, "devices", "revoke", str(here["device_id"])[:12]) == {"device_id": here["device_id"]}
    terminal.environment["PARLEY_NEW_PASSWORD"] = "better than before"
    for _ in range(2):
        assert await told(terminal, "password") == {"login_name": alice}, "the same again counts as done"
    terminal.environment["PARLEY_NEW_PASSWORD"] = "yet another one"
    assert await terminal.refused("password") == "The old password is wrong.\n"
    assert "parley register" not in await terminal.refused("delete-account", "--yes")
    assert "blocked" in await terminal.ok("block", bob)
    assert (await told(terminal, "blocked"))["display_name"] == "bob"
    assert (await told(terminal, "unblock", bob))["blocked"] is False
    assert await told(terminal, "logout") == {"login_name": alice}


async def test_unnamed_device_is_listed_by_id(terminal: Terminal, people: People, alice: str) -> None:
    nameless = await (await people.client_without_session()).accounts.login(alice, PASSWORD, device_name="")
    told_of = await terminal.ok("devices", "revoke", nameless.device_id)
    assert told_of == f"The device {nameless.device_id[:8]} is signed out.\n"


def files_of(archive: bytes) -> list[str]:
    """Return the names of the files in a ZIP, all of whose checksums are right."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert opened.namelist()
        return opened.namelist()


async def test_export_writes_complete_archive_or_is_refused(terminal: Terminal, tmp_path: Path, alice: str) -> None:
    archive = tmp_path / "me.zip"
    assert (await told(terminal, "export", str(archive)))["bytes"] == archive.stat().st_size
    assert archive.stat().st_mode & 0o077 == 0
    code, piped, err = await terminal.run_bytes("export", "-")
    assert (code, err) == (0, "")
    assert files_of(archive.read_bytes()) == files_of(piped)
    assert f"no folder {tmp_path / 'nowhere'}" in await terminal.refused("export", str(tmp_path / "nowhere" / "me.zip"))
    assert "is a folder" in await terminal.refused("export", str(tmp_path))


async def test_conversations_are_listed_with_unread_counts(terminal: Terminal, alice: str, bob: str) -> None:
    await terminal.ok("send", bob, "hello")
    assert "alice  (1 unread)" in await terminal.ok("conversations", "--as", bob)
    assert (await told(terminal, "conversations", "--as", bob))["unread_count"] == "1"


async def test_privacy_is_changed_and_account_deleted(terminal: Terminal, alice: str) -> None:
    assert "everyone" in await terminal.ok("privacy")
    told_of = await told(terminal, "privacy", "--who-may-add", "contacts", "--found")
    assert told_of == {"who_may_add": "WHO_MAY_ADD_CONTACTS", "found_by_search": True}
    assert "contacts" in await terminal.ok("privacy")
    assert "--yes" in await terminal.refused("delete-account")
    assert "is deleted" in await terminal.ok("delete-account", "--yes")
    assert "not signed in" in await terminal.refused("whoami")


async def test_reading_history_creates_no_conversation(terminal: Terminal, alice: str, bob: str) -> None:
    assert "have not said anything to each other" in await terminal.refused("history", bob)
    assert "have not said anything to each other" in await terminal.refused("edit", bob, "1", "hello")
    await terminal.ok("send", bob, "hello")
    assert "hello" in await terminal.ok("history", bob)


async def test_own_name_selects_no_conversation(terminal: Terminal, alice: str, bob: str) -> None:
    seq = str((await told(terminal, "send", bob, "hello"))["seq"])
    for command in (["history", alice], ["delete", alice, seq], ["download", alice, seq]):
        assert "That is you" in await terminal.refused(*command)
    assert "hello" in await terminal.ok("history", bob)


@pytest.mark.parametrize("seq", [str(2**63), "9" * 40])
async def test_seq_beyond_64_bits_is_refused(terminal: Terminal, alice: str, bob: str, seq: str) -> None:
    await terminal.ok("send", bob, "hello")
    assert "SEQ" in await terminal.refused("edit", bob, seq, "x")
    assert "SEQ" in await terminal.refused("delete", bob, seq)
    code, _, err = await terminal.run("send", bob, "x", "--reply-to", seq)
    assert (code, "Traceback" in err) == (2, False)


async def test_json_output_of_send_has_contract_fields(terminal: Terminal, alice: str, bob: str) -> None:
    sent = await told(terminal, "send", bob, "hello")
    assert sent.keys() == {"conversation_id", "seq", "create_time"}
    assert isinstance(sent["seq"], str)
