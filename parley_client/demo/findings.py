"""What the play found out, and the verdicts drawn from it at the end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from parley_client.demo import checks
from parley_client.demo.participants import Cast, Player, Silence
from parley_client.demo.record import Acknowledged, Notebook, Seen, Shown, seen
from parley_client.demo.report import Report
from parley_client.errors import ParleyError

CLAIMS = {
    "P1": "durable: what was acknowledged is in the log, where the answer said",
    "P2": "ordered: every device was given the same 1, 2, 3 …, and senders keep their order",
    "P3": "exactly once: a message is there once, and a retry gets the first answer",
    "P4": "delivered: every acknowledged message reached every device of every member",
    "P5": "resume: a device that was away was given what it missed, and only that",
    "P8": "isolation: strangers, former members and revoked devices are kept out",
    "changes": "edits, deletions and reactions are the same on every device, wherever it was",
    "receipts": "delivered and read watermarks and unread counts are right",
    "members": "the conversations have the members they were made with",
    "history": "history by call is what the devices put together",
    "mesh": "messages and answers crossed between servers",
}
# What is claimed instead when a part could not be checked.
UNFINISHED = {"P8": "isolation: strangers are kept out"}


class Findings:
    """The players and their roles, the conversations, and the troubles noted during the play."""

    alice: Player
    bob: Player
    carol: Player
    eve: Player
    laptop: Player
    tablet: Player

    def __init__(self, report: Report) -> None:
        self.report = report
        self.direct = ""
        self.group = ""
        self.carol_until: int | None = None
        self.away_heads: dict[str, int] = {}
        self.changed: dict[int, Shown] = {}
        """What second thoughts made of messages of the group, by seq."""
        self.before_absence: Notebook | None = None
        self._troubles: dict[str, list[str]] = defaultdict(list)

    def trouble(self, promise: str, what: str) -> None:
        """Note something that should not be."""
        self._troubles[promise].append(what)

    def troubles(self, promise: str) -> list[str]:
        """What was noted under a promise."""
        return self._troubles[promise]

    def take_roles(self, people: list[Player]) -> None:
        """Alice is the first; bob the first who lives elsewhere, if anybody does; carol and eve whoever is left."""
        self.alice, *others = people
        others.sort(key=lambda player: player.session.home == self.alice.session.home)
        self.bob, self.carol, self.eve = others[:3]
        for name in ("alice", "bob", "carol", "eve"):
            getattr(self, name).rename(f"{name}'s phone")

    @property
    def devices(self) -> list[Player]:
        """The devices that take part."""
        return [self.alice, self.laptop, self.bob, self.tablet, self.carol]

    def audience(self) -> Iterator[tuple[Player, str]]:
        """Every device with every conversation it should have."""
        for player in self.devices:
            if player is not self.carol:
                yield player, self.direct
            yield player, self.group

    def acknowledged(self, conversation: str) -> list[Acknowledged]:
        """All messages of a conversation that the server said it has."""
        sent = [each for player in self.devices for each in player.sent]
        return [each for each in sent if each.conversation_id == conversation]

    def notes(self, player: Player) -> Notebook:
        """All a device was given, before and after it was away."""
        if player is not self.tablet or self.before_absence is None:
            return player.notebook
        whole = Notebook(player.name)
        for part in (self.before_absence, player.notebook):
            for conversation, entries in part.pages.items():
                whole.pages[conversation] += entries
        return whole

    def limit(self, player: Player, conversation: str) -> int | None:
        """Up to where a device should have a conversation; None: all of it."""
        return self.carol_until if player is self.carol and conversation == self.group else None

    def has_all(self, player: Player, conversation: str) -> bool:
        """Whether a device has been given all that was acknowledged and is its to have."""
        sent, until = self.acknowledged(conversation), self.limit(player, conversation)
        return not checks.delivered(sent, self.notes(player), conversation, until)

    def disagreements(self, player: Player) -> list[str]:
        """Where a device shows something else than second thoughts made of a message."""
        view = player.view(self.group)
        troubles = []
        for seq, wanted in self.changed.items():
            message = view.message(seq)
            shown = (message.text, message.deleted, tuple(message.reactions.items())) if message else None
            if shown != wanted:
                troubles.append(f"{player.name} shows {shown} at seq {seq}, and not {wanted}")
        return troubles

    def unread(self, player: Player, conversation: str) -> int:
        """How many messages a user who marked nothing as read has not read: those after the own last one."""
        sent = self.acknowledged(conversation)
        own = max((each.seq for each in sent if each.actor_id == player.user_id), default=0)
        return sum(1 for each in sent if each.seq > own)

    async def expect_unread(self, player: Player, conversation: str, count: int, patience: float) -> None:
        """The server says so many messages are unread, within `patience` seconds."""
        ends = asyncio.get_running_loop().time() + patience
        while True:
            told = (await player.client.conversations.get(conversation)).unread_count
            if told == count:
                return
            if asyncio.get_running_loop().time() > ends:
                self.trouble("receipts", f"{player.name} has {count} unread messages, the server says {told}")
                return
            await asyncio.sleep(0.05)


async def judge_all(found: Findings, cast: Cast, patience: float) -> None:
    """Read the logs back on a device that has nothing, and judge every promise."""
    logs: dict[str, list[Seen]] = {}
    if found.group:
        try:
            logs = await _read_back(found, cast, patience)
            await _compare_history(found, logs)
        except (ParleyError, Silence) as error:
            found.trouble("P5", f"a new device could not read the logs: {error}")
        _judge(found, logs)
    _judge_mesh(found)
    for promise, claim in CLAIMS.items():
        if any(each.startswith(f"{promise}:") for each in found.report.skipped):
            claim = UNFINISHED.get(promise, claim)
        found.report.judge(promise, claim, found.troubles(promise))


async def _read_back(found: Findings, cast: Cast, patience: float) -> dict[str, list[Seen]]:
    """The whole logs, as they are given to a device that has nothing and was not there."""
    witness = await cast.another(found.bob, "bob's new phone")
    await witness.join(patience)
    for conversation in (found.direct, found.group):
        head = (await witness.client.conversations.get(conversation)).head_seq
        await witness.until(
            partial(_has_length, witness.notebook, conversation, head),
            "a new device was not given the whole of a conversation",
            patience,
        )
        for trouble in checks.gapless(witness.notebook, conversation):
            found.trouble("P5", trouble)
    _note(found, "changes", found.disagreements(witness))
    return dict(witness.notebook.pages)


def _has_length(notebook: Notebook, conversation: str, length: int) -> bool:
    return len(notebook.seqs(conversation)) >= length


async def _compare_history(found: Findings, logs: dict[str, list[Seen]]) -> None:
    for conversation, log in logs.items():
        messages = found.bob.client.messages.before(conversation, limit=len(log) + 1)
        history = [seen(entry) async for entry in messages][::-1]
        wanted = [entry for entry in log if entry.message]
        if [entry.seq for entry in history] != [entry.seq for entry in wanted] or not all(
            one.same(other) for one, other in zip(history, wanted, strict=True)
        ):
            found.trouble("history", f"{len(history)} messages by call, {len(wanted)} in the log")


def _judge(found: Findings, logs: dict[str, list[Seen]]) -> None:
    everything = found.acknowledged(found.direct) + found.acknowledged(found.group)
    _note(found, "P1", checks.durable(everything, logs))
    _note(found, "P2", checks.sender_order(everything))
    _note(found, "P3", checks.once(everything, logs))
    for player, conversation in found.audience():
        notes = found.notes(player)
        _note(found, "P2", checks.gapless(notes, conversation))
        _note(found, "P2", checks.same(notes, conversation, logs.get(conversation, ())))
        until = found.limit(player, conversation)
        _note(found, "P4", checks.delivered(everything, notes, conversation, until))
    if found.before_absence:
        for conversation, head in found.away_heads.items():
            after = found.tablet.notebook
            _note(found, "P5", checks.resumed(found.before_absence, after, conversation, head))


def _judge_mesh(found: Findings) -> None:
    alice, bob = found.alice, found.bob
    if alice.session.home == bob.session.home:
        home = alice.session.home or "an unknown one"
        found.trouble("mesh", f"only one server was seen ({home}): the demo needs two chat servers")
        return
    for one, other in ((alice, bob), (bob, alice), (alice, found.tablet), (found.tablet, alice)):
        live = {each.what for page in found.notes(other).pages.values() for each in page if each.live}
        if not live & {each.text for each in one.sent}:
            found.trouble("mesh", f"nothing {one.name} sent reached {other.name}, who lives elsewhere")


def _note(found: Findings, promise: str, troubles: list[str]) -> None:
    for each in troubles:
        found.trouble(promise, each)
