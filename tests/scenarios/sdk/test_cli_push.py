"""`parley push` tells why no push came, sends a test push, and changes tokens and preferences."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from parley_client import Client
from tests.eventually import eventually
from tests.proxy.rpc import Proxy
from tests.raw.pushes import Pushes
from tests.scenarios.sdk.people import People
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

TIMEOUT_S = 20.0
FOREGROUND = (
    "Messages that arrive while a device of yours is in the foreground are not pushed; only the last of them is listed."
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Alice and bob, who are signed in on the terminal, and another device of bob's."""

    terminal: Terminal
    alice: str
    bob: str
    client: Client
    pushes: Pushes

    async def push(self, *words: str) -> str:
        """Return the output of a command under `push`, as bob."""
        return await self.terminal.ok("push", *words, "--as", self.bob)

    async def refused(self, *words: str) -> str:
        """Return the error of a command under `push`, as bob."""
        return await self.terminal.refused("push", *words, "--as", self.bob)

    async def misused(self, *words: str) -> str:
        """Return the error of a command under `push` whose options are wrong, on one line."""
        code, out, err = await self.terminal.run("push", *words, "--as", self.bob)
        assert (code, out) == (2, "")
        return " ".join(err.replace("│", " ").split())

    async def send(self, text: str, decisions: int) -> None:
        """Send a message to bob, and wait until there are as many decisions."""
        await self.terminal.ok("send", self.bob, text, "--as", self.alice)
        await self.wait_for_decisions(decisions)

    async def wait_for_decisions(self, decisions: int) -> None:
        """Wait until there are as many decisions about pushes to bob."""

        async def are_there() -> bool:
            return len(await self.client.push.list_decisions()) == decisions

        await eventually(are_there, TIMEOUT_S)


@pytest.fixture
async def cast(terminal: Terminal, people: People) -> AsyncIterator[Cast]:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    async with Pushes(people.world) as pushes:
        yield Cast(terminal, alice, bob, await people.client("bob"), pushes)


async def test_trace_shows_each_decision_with_its_reason(cast: Cast) -> None:
    empty = await cast.push("trace")
    assert empty == f"Nothing was decided about pushes to you in the last 7 days.\n{FOREGROUND}\n"
    await cast.push("register", "--fcm", cast.bob)
    await cast.send("hello", 1)
    await cast.push("preferences", "--scope", "none")
    await cast.send("again", 2)
    newest, oldest, hint = (await cast.push("trace")).splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"{time}  not pushed: your preferences exclude it  message 3 of alice", newest)
    assert re.fullmatch(rf"{time}  pushed to this machine over FCM  message 2 of alice", oldest)
    assert hint == FOREGROUND
    assert [push["body"] for push in cast.pushes.recorded_for(cast.bob)] == ["hello"]
    documents = [json.loads(line) for line in (await cast.push("trace", "--json")).splitlines()]
    assert [(each["outcome"], each["provider"]) for each in documents] == [
        ("PUSH_OUTCOME_EXCLUDED", None),
        ("PUSH_OUTCOME_ACCEPTED", "PUSH_PROVIDER_FCM"),
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", documents[0]["decide_time"])


async def test_trace_names_the_kind_of_each_entry(cast: Cast) -> None:
    await cast.push("register", "--fcm", cast.bob)
    await cast.terminal.ok("groups", "create", "Friday", cast.bob, "--as", cast.alice)
    await cast.wait_for_decisions(1)
    await cast.terminal.ok("send", cast.alice, "mine", "--as", cast.bob)
    await cast.terminal.ok("react", cast.bob, "2", "👍", "--as", cast.alice)
    await cast.wait_for_decisions(2)
    reaction, addition, _ = (await cast.push("trace")).splitlines()
    assert reaction.endswith("pushed to this machine over FCM  reaction 3 of alice")
    assert addition.endswith("pushed to this machine over FCM  change of members 1 of Friday")
    await cast.terminal.ok("groups", "remove", "Friday", cast.bob, "--as", cast.alice)
    forgotten = (await cast.push("trace")).splitlines()[1]
    assert forgotten.endswith("change of members 1 of Friday")


async def test_test_push_says_what_the_provider_answered(cast: Cast) -> None:
    explained = await cast.refused("test")
    assert explained.startswith("None of your devices has a push token, so nothing was sent.")
    assert "`parley push register --fcm TEXT`" in explained
    await cast.push("register", "--fcm", cast.bob, "--language", "de")
    assert await cast.push("test") == "This machine, FCM: the provider accepted the notification.\n"
    assert json.loads(await cast.push("test", "--json"))["outcome"] == "PUSH_OUTCOME_ACCEPTED"
    assert [push["title"] for push in cast.pushes.recorded_for(cast.bob)] == ["Testbenachrichtigung"] * 2


async def test_tokens_are_registered_listed_and_removed(cast: Cast, tmp_path: Path) -> None:
    assert await cast.push("tokens") == "None of your devices has a push token.\n"
    apns = ("register", "--apns", f"{'AB' * 16}", "--topic", "org.example.app", "--sandbox")
    said = await cast.push(*apns)
    assert said == "This machine gets pushes over APNs now. Try it with `parley push test`.\n"
    key = base64.urlsafe_b64encode(await cast.client.push.get_web_push_key()).decode()
    subscription = {"endpoint": f"https://push.example.com/{cast.bob}", "keys": {"p256dh": key, "auth": "A" * 22}}
    file = tmp_path / "subscription.json"
    file.write_text(json.dumps(subscription))
    told = json.loads(await cast.push("register", "--web-push", str(file), "--json"))
    assert (told["provider"], told["encrypted"], told["last_push_time"]) == ("PUSH_PROVIDER_WEB_PUSH", True, None)
    [line] = (await cast.push("tokens")).splitlines()
    assert re.fullmatch(r"[0-9a-f]{32}  \S+ \S+  Web Push, en, encrypted, no push yet  \(this machine\)", line)
    assert json.loads(await cast.push("tokens", "--json")) == told
    other = await cast.refused("unregister", "zz")
    assert other == "No device with a push token has an id that begins with zz. See `parley push tokens`.\n"
    assert await cast.push("unregister") == "Nothing is pushed to this machine any more.\n"
    assert await cast.refused("unregister") == "This machine has no push token. See `parley push tokens`.\n"


async def test_token_of_another_device_is_removed_by_the_beginning_of_its_id(cast: Cast) -> None:
    await cast.push("register", "--fcm", cast.bob)
    token_id = json.loads(await cast.push("tokens", "--json"))["device_id"]
    others = ("push", "unregister", token_id[:12].upper(), "--json", "--as", cast.alice)
    assert "No device with a push token" in await cast.terminal.refused(*others)
    assert json.loads(await cast.push("unregister", token_id[:12].upper(), "--json")) == {"device_id": token_id}


async def test_preferences_are_shown_and_changed_by_parts(cast: Cast) -> None:
    assert (await cast.push("preferences")).splitlines() == [
        "Messages that notify you: all.",
        "Notifications show: the sender and the beginning of the text.",
        "Reactions to your messages notify you: yes.",
        "Quiet hours, without notifications: none.",
    ]
    assert "You have no quiet hours" in await cast.refused("preferences", "--zone", "Asia/Tokyo")
    await cast.push("preferences", "--scope", "mentions", "--quiet", "22:00-07:30", "--zone", "Europe/Berlin")
    shown = await cast.push("preferences", "--preview", "sender", "--no-reactions")
    assert shown.splitlines() == [
        "Messages that notify you: in groups only those that mention you or reply to you.",
        "Notifications show: the sender, not the text.",
        "Reactions to your messages notify you: no.",
        "Quiet hours, without notifications: 22:00 to 07:30, Europe/Berlin.",
    ]
    moved = await cast.push("preferences", "--quiet", "8:00-9:00")
    assert "08:00 to 09:00, Europe/Berlin" in moved
    told = json.loads(await cast.push("preferences", "--zone", "Asia/Tokyo", "--json"))
    assert told == {
        "scope": "NOTIFICATION_SCOPE_MENTIONS",
        "preview": "NOTIFICATION_PREVIEW_SENDER",
        "reactions": False,
        "quiet_hours": {"start_minute": 480, "end_minute": 540, "time_zone": "Asia/Tokyo"},
    }
    assert "without notifications: none." in await cast.push("preferences", "--quiet", "none")


async def test_quiet_hours_without_a_zone_are_in_that_of_the_machine(cast: Cast) -> None:
    cast.terminal.environment["TZ"] = "America/Lima"
    assert "23:00 to 06:00, America/Lima." in await cast.push("preferences", "--quiet", "23:00-06:00")
    cast.terminal.environment["TZ"] = "Asia/Tokyo"
    assert "23:00 to 06:00, America/Lima." in await cast.push("preferences", "--quiet", "23:00-06:00")
    assert "23:00 to 06:00, Asia/Tokyo." in await cast.push("preferences", "--zone", "localtime")
    cast.terminal.environment["TZ"] = "JST-9"
    nameless = await cast.refused("preferences", "--zone", "localtime")
    assert nameless.startswith("The time zone of this machine has no name here. Name yours with --zone")
    assert "list-timezones" in nameless


async def test_quiet_hours_that_end_when_they_begin_are_the_whole_day(cast: Cast) -> None:
    shown = await cast.push("preferences", "--quiet", "22:00-22:00", "--zone", "Europe/Lisbon")
    assert "without notifications: the whole day, as they end when they begin: 22:00 (Europe/Lisbon)." in shown


async def test_wrong_options_are_refused_in_a_sentence(cast: Cast, tmp_path: Path) -> None:
    assert "Name one token, with --fcm, --apns or --web-push." in await cast.misused("register")
    assert "Name one token" in await cast.misused("register", "--fcm", "a", "--apns", "ab")
    assert "--topic and --sandbox belong to --apns." in await cast.misused("register", "--fcm", "a", "--sandbox")
    assert "needs the bundle id of the app: --topic ID." in await cast.misused("register", "--apns", "ab")
    file = tmp_path / "subscription.json"
    file.write_text("{}")
    assert "has no subscription: the JSON of" in await cast.misused("register", "--web-push", str(file))
    file.write_bytes(b"\xff")
    assert "not UTF-8" in await cast.refused("register", "--web-push", str(file))
    for quiet in ("24:00-07:00", "22-07", "22:00-07:00 ", ""):
        assert "is not a period such as 22:00-07:00" in await cast.misused("preferences", "--quiet", quiet)
    atlantis = await cast.refused("preferences", "--quiet", "22:00-07:00", "--zone", "Atlantis/Capital")
    assert atlantis == (
        "There is no time zone 'Atlantis/Capital': it needs a name such as Europe/Lisbon. "
        "`timedatectl list-timezones` lists the names of all zones.\n"
    )
    token = await cast.refused("register", "--apns", "xyz", "--topic", "a")
    assert token == "A token of Apple's service is an even number of hex digits, 200 at most.\n"
    tag = await cast.refused("register", "--fcm", "a", "--language", "Deutsch!")
    assert tag == "A language is a tag such as en or pt-BR.\n"


async def test_unreachable_door_is_explained(cast: Cast, proxy: Proxy) -> None:
    await proxy.stop()
    for words in (("trace",), ("test",), ("tokens",), ("preferences",), ("unregister",), ("register", "--fcm", "a")):
        assert "Nothing answers at" in await cast.refused(*words)
