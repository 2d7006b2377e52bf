"""A model of one group: its log, the seqs each user may see, and the operations each user may perform."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum

from parley_client import DeliveryStatus
from tests.scenarios.properties.viewers import Shown

NO_CONVERSATION = "CONVERSATION_NOT_FOUND"
NO_MESSAGE = "MESSAGE_NOT_FOUND"
FORBIDDEN = "ROLE_INSUFFICIENT"
NO_USER = "USER_NOT_FOUND"
LAST_ADMIN = "LAST_ADMIN"
FIRST = 3
"""Two entries make a group: its members, and its title."""


class Role(Enum):
    """The role of a member."""

    MEMBER = 1
    ADMIN = 2


@dataclass
class Said:
    """A message in its current state."""

    author: str
    body: str
    mention: str | None = None
    edit_seq: int = 0
    delete_seq: int = 0
    # By user: what, and by which entry.
    reactions: dict[str, tuple[str, int]] = field(default_factory=dict)


class Refused(Exception):
    """The operation is refused with this reason."""


@dataclass
class Model:
    """One group. Each operation returns the seq of its entry (0: none is needed), or raises Refused."""

    roles: dict[str, Role]
    head: int = FIRST - 1
    admins_only: bool = False
    title: str = "Weather"
    messages: dict[int, Said] = field(default_factory=dict)
    joined: dict[str, int] = field(default_factory=dict)
    past: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    hidden: dict[str, set[int]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    # By the seq of an edit, deletion or reaction: the message that it changes.
    targets: dict[int, int] = field(default_factory=dict)
    # By whom an entry is, for entries that are no messages.
    actors: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.joined = dict.fromkeys(self.roles, 1)

    def visible(self, user: str) -> list[int]:
        """Return the seqs that a user may see, in order."""
        spans = [*self.past.get(user, ())]
        if user in self.roles:
            spans.append((self.joined[user], self.head))
        return [seq for first, last in spans for seq in range(first, last + 1)]

    def changes_outside(self, user: str) -> list[int]:
        """Return the seqs of the changes, made while the user was not a member, of messages that the user may see."""
        visible = set(self.visible(user))
        return [seq for seq, target in self.targets.items() if seq not in visible and target in visible]

    def unread(self, user: str) -> int:
        """Return the number of visible messages that a member has not read; 0 for a former member."""
        visible, read = set(self.visible(user)), self.read.get(user, 0)
        return sum(seq > read for seq in self.messages.keys() & visible) if user in self.roles else 0

    def is_read(self, seq: int) -> bool:
        """Return True if a message is read by the users who have been members since, or by those who left last."""
        author = self.messages[seq].author
        ends = {user: sys.maxsize for user, joined in self.joined.items() if joined <= seq}
        ended = [(user, first, last) for user, spans in self.past.items() for first, last in spans]
        ends |= {user: last for user, first, last in ended if first <= seq <= last}
        ends.pop(author, None)
        deciding = [user for user, end in ends.items() if end == max(ends.values())]
        return bool(deciding) and all(self.read.get(user, 0) >= seq for user in deciding)

    def shown_messages(self, user: str) -> dict[int, Shown]:
        """Return the messages that a user's devices show, by seq."""
        seqs = (self.messages.keys() & set(self.visible(user))) - self.hidden.get(user, set())
        return {seq: self._shown_message(user, seq) for seq in seqs}

    def _shown_message(self, user: str, seq: int) -> Shown:
        said, (body, reactions) = self.messages[seq], self.shown(user, seq)
        status = DeliveryStatus.READ if self.is_read(seq) else DeliveryStatus.SENT
        return Shown(
            said.author,
            body,
            (said.mention,) if said.mention and not said.edit_seq and body else (),
            bool(said.edit_seq and body),
            bool(said.delete_seq),
            tuple(sorted(reactions.items())),
            status if said.author == user else None,
        )

    def shown(self, user: str, seq: int) -> tuple[str, dict[str, str]]:
        """Return a message's content and reactions as a user sees them, without changes made outside of membership."""
        said, seen = self.messages[seq], self.visible(user)
        body = said.body if not said.edit_seq or said.edit_seq in seen else ""
        return body, {each: emoji for each, (emoji, by) in said.reactions.items() if by in seen}

    def send(self, user: str, body: str, mention: str | None = None) -> int:
        self._check_member(user)
        if self.admins_only:
            self._check_admin(user)
        seq = self._next(user)
        self.messages[seq] = Said(user, body, mention)
        self.read[user] = seq
        return seq

    def edit(self, user: str, target: int, body: str) -> int:
        said = self._target(user, target)
        if said.author != user:
            raise Refused(FORBIDDEN)
        if self.admins_only:
            self._check_admin(user)
        said.body, said.edit_seq = body, self._next(user)
        self.targets[said.edit_seq] = target
        return said.edit_seq

    def delete(self, user: str, target: int) -> int:
        said = self._target(user, target, deleted=True)
        if said.author != user:
            self._check_admin(user)
        if said.delete_seq:
            return 0
        said.body, said.reactions, said.delete_seq = "", {}, self._next(user)
        self.targets[said.delete_seq] = target
        return said.delete_seq

    def react(self, user: str, target: int, emoji: str) -> int:
        said = self._target(user, target)
        if said.reactions.get(user, ("", 0))[0] == emoji:
            return 0
        seq = self._next(user)
        self.targets[seq] = target
        said.reactions = {**said.reactions, user: (emoji, seq)} if emoji else _without(said.reactions, user)
        return seq

    def hide(self, user: str, target: int) -> int:
        if not self.visible(user):
            raise Refused(NO_CONVERSATION)
        if target not in self.messages or target not in self.visible(user):
            raise Refused(NO_MESSAGE)
        self.hidden.setdefault(user, set()).add(target)
        return 0

    def add(self, user: str, other: str) -> int:
        # Who may not add is told so by what is read first, a former member by what the owner says.
        if not self.visible(user):
            raise Refused(NO_CONVERSATION)
        self._check_member(user)
        self._check_admin(user)
        if other in self.roles:
            return 0
        seq = self._next(user)
        self.roles[other], self.joined[other] = Role.MEMBER, seq
        return seq

    def remove(self, user: str, other: str) -> int:
        self._check_member(user)
        self._check_admin(user)
        if other not in self.roles:
            raise Refused(NO_USER)
        if other == user:
            return self.leave(user)
        seq = self._next(user)
        self._gone(other, seq)
        return seq

    def leave(self, user: str) -> int:
        self._check_member(user)
        alone = self._admins() == [user]
        seq = self._next(user)
        self._gone(user, seq)
        if alone and self.roles:
            heir = min((self.joined[each], each) for each in self.roles)[1]
            self.roles[heir] = Role.ADMIN
        return seq

    def set_role(self, user: str, other: str, role: Role) -> int:
        self._check_member(user)
        self._check_admin(user)
        if other not in self.roles:
            raise Refused(NO_USER)
        if self.roles[other] is role:
            return 0
        if self._admins() == [other]:
            raise Refused(LAST_ADMIN)
        self.roles[other] = role
        return self._next(user)

    def update(self, user: str, title: str, admins_only: bool) -> int:
        self._check_member(user)
        self._check_admin(user)
        if (self.title, self.admins_only) == (title, admins_only):
            return 0
        self.title, self.admins_only = title, admins_only
        return self._next(user)

    def receive(self, user: str, seq: int) -> None:
        """Record that a member has read up to `seq`."""
        if user in self.roles:
            self.read[user] = max(self.read.get(user, 0), min(seq, self.head))

    def _next(self, user: str) -> int:
        self.head += 1
        self.actors[self.head] = user
        return self.head

    def _gone(self, user: str, seq: int) -> None:
        self.past.setdefault(user, []).append((self.joined.pop(user), seq))
        del self.roles[user]

    def _admins(self) -> list[str]:
        return [user for user, role in self.roles.items() if role is Role.ADMIN]

    def _check_member(self, user: str) -> None:
        if user not in self.roles:
            raise Refused(NO_CONVERSATION)

    def _check_admin(self, user: str) -> None:
        if self.roles[user] is not Role.ADMIN:
            raise Refused(FORBIDDEN)

    def _target(self, user: str, target: int, *, deleted: bool = False) -> Said:
        """Return a message that a member may change; a deleted one only if `deleted`."""
        self._check_member(user)
        said = self.messages.get(target)
        if said is None or (said.delete_seq and not deleted) or target not in self.visible(user):
            raise Refused(NO_MESSAGE)
        return said


@dataclass
class DirectModel:
    """A 1-1 conversation.

    `shown` has the read watermark of each user that the other is shown; it does not rise while one blocks the other.
    """

    users: tuple[str, str]
    head: int
    messages: dict[int, tuple[str, str]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    blocks: set[str] = field(default_factory=set)

    def send(self, user: str, body: str) -> int:
        if self.blocks:
            raise Refused("BLOCKED")
        self.head += 1
        self.messages[self.head] = (user, body)
        self.read[user] = self.head
        # The other user's receipt for it, too, shows all that was hidden while there was a block.
        self.shown |= self.read
        return self.head

    def receive(self, user: str, seq: int) -> None:
        """Record that a user has read up to `seq`."""
        if seq > self.read.get(user, 0):
            self.read[user] = seq
            if not self.blocks:
                self.shown[user] = seq

    def unread(self, user: str) -> int:
        """Return the number of messages that a user has not read."""
        return sum(seq > self.read.get(user, 0) for seq in self.messages)

    def shown_messages(self, user: str) -> dict[int, Shown]:
        """Return the messages that a user's devices show, by seq."""
        other = self.users[self.users[0] == user]
        return {
            seq: Shown(author, body, (), False, False, (), self._status(seq, other) if author == user else None)
            for seq, (author, body) in self.messages.items()
        }

    def _status(self, seq: int, other: str) -> DeliveryStatus:
        return DeliveryStatus.READ if self.shown.get(other, 0) >= seq else DeliveryStatus.SENT


def _without(reactions: dict[str, tuple[str, int]], user: str) -> dict[str, tuple[str, int]]:
    return {each: emoji for each, emoji in reactions.items() if each != user}
