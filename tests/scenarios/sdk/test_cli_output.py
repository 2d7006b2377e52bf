"""The output of every printing command: others cannot forge it, and it ends quietly when its reader leaves."""

from __future__ import annotations

import json
import re

import pytest

from parley_client import FcmToken
from tests.eventually import eventually
from tests.scenarios.sdk.people import People, user_id
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

SIGPIPE_EXIT = 141
FORGED = "x\x1b[2J\x9b31m\u202ey\n19:07 boss  you are fired\u2028z\r\v\x85w"
# The text as one cell: line breaks are spaces, and nothing is left of the commands.
SHOWN = "x[2J31my 19:07 boss you are fired z w"


class ForgedWorld:
    """Alice, who runs the command, and bob, all of whose texts try to forge her screen."""

    def __init__(self, bob: str, group: str) -> None:
        self.bob = bob
        self.group = group


@pytest.fixture
async def world_of_forgers(terminal: Terminal, people: People) -> ForgedWorld:
    """Bob, whose account is older than the rule for names."""
    [alice_name] = await people.sign_in(terminal, "alice")
    terminal.environment["PARLEY_AS"] = alice_name
    alice, bob = await people.client("alice"), await people.old_client("bob", FORGED)
    await alice.push.register_token(FcmToken(user_id(alice)))
    chat = await bob.conversations.get_or_create_direct(user_id(alice))
    group = await bob.conversations.create_group("Friday", [user_id(alice)])
    for conversation in (chat.conversation_id, group.conversation_id):
        for _ in range(3):
            await bob.messages.send(conversation, FORGED)

    async def are_pushed() -> bool:
        return {each.conversation_id for each in await alice.push.list_decisions()} == {
            chat.conversation_id,
            group.conversation_id,
        }

    await eventually(are_pushed, 20.0)
    return ForgedWorld(people.login_name("bob"), group.conversation_id)


def assert_harmless(out: str) -> None:
    forging = [char for char in out if not (char.isprintable() or char in "\n\u200d")]
    assert not forging, ascii(out)


async def test_others_cannot_forge_output_of_any_command(terminal: Terminal, world_of_forgers: ForgedWorld) -> None:
    bob, group = world_of_forgers.bob, world_of_forgers.group
    outputs = {
        words: await terminal.ok(*words)
        for words in [
            ("conversations",),
            ("groups", "list"),
            ("history", bob),
            ("history", "--group", group, "--seqs"),
            ("search", "boss"),
            ("chat", bob),
            ("chat",),
            ("devices", "list"),
            ("push", "trace"),
            ("push", "tokens"),
            ("push", "test"),
            ("block", bob),
            ("blocked",),
            ("whoami",),
        ]
    }
    for out in outputs.values():
        assert_harmless(out)
    first, second, hint = outputs["conversations",].splitlines()
    assert (first[:6], second.startswith(SHOWN), hint[:8]) == ("Friday", True, "Open one")
    assert outputs["blocked",] == f"{SHOWN}\n"
    assert len(outputs["groups", "list"].splitlines()) == 1
    *decisions, hint = outputs["push", "trace"].splitlines()
    assert all(re.fullmatch(r"[\d-]+ [\d:]+  .* of .*", line) for line in decisions), decisions
    assert any(line.endswith(f" of {SHOWN}") for line in decisions), decisions
    assert hint.startswith("Messages that arrive")
    # Each message has one line that begins with its time; the other lines of the text are indented below it.
    starts = [line for line in outputs["history", bob].splitlines() if not line.startswith(" ")]
    assert len(starts) == 3, outputs["history", bob]
    assert all(SHOWN in line for line in starts)


async def test_json_output_is_one_harmless_line_a_document(terminal: Terminal, world_of_forgers: ForgedWorld) -> None:
    out = await terminal.ok("history", world_of_forgers.bob, "--json")
    assert_harmless(out)
    entries = [json.loads(line) for line in out.splitlines()]
    assert entries[0]["message_appended"]["content"]["text"]["body"] == FORGED


async def test_every_command_ends_quietly_when_its_reader_has_left(terminal: Terminal, people: People) -> None:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    terminal.environment["PARLEY_AS"] = alice
    await terminal.ok("send", bob, "hello")
    await terminal.ok("push", "register", "--fcm", alice)
    for words in [
        ("history", bob),
        ("history", bob, "--json"),
        ("conversations",),
        ("conversations", "--json"),
        ("groups", "list"),
        ("devices", "list"),
        ("push", "trace"),
        ("push", "tokens", "--json"),
        ("push", "test"),
        ("push", "tokens"),
        ("push", "preferences"),
        ("search", "hello"),
        ("whoami",),
        ("privacy",),
        ("blocked",),
        ("send", bob, "again"),
        ("export", "-"),
        ("chat", bob),
        ("chat",),
    ]:
        assert await terminal.run_without_reader(*words) == (SIGPIPE_EXIT, ""), words


async def test_history_ends_quietly_when_its_reader_leaves_after_a_line(terminal: Terminal, people: People) -> None:
    """As in `parley history bob --json | head -1`, with more output than a pipe holds."""
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    terminal.environment["PARLEY_AS"] = alice
    for _ in range(12):
        await terminal.ok("send", bob, "-", typed="y" * 15_000)
    for words in [("history", bob, "--json"), ("history", bob)]:
        assert await terminal.run_without_reader(*words, lines=1) == (SIGPIPE_EXIT, ""), words
