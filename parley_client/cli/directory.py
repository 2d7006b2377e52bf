"""Names of users and conversations, as a person at a terminal knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from parley.chat.v1 import conversation_pb2
from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli.errors import CommandError
from parley_client.client import Client
from parley_client.errors import NotAllowed, NotFound, ParleyError


class UserDirectory:
    """The names behind ids, each asked for once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def display_name(self, user_id: str) -> str:
        """The name to show for a user; of a user who is gone, the beginning of the id."""
        if user_id not in self._names:
            try:
                profile = await self._client.accounts.profile(user_id)
                name = "(deleted account)" if profile.deleted else profile.display_name or profile.login_name
                self._names[user_id] = name or user_id[:8]
            except NotFound:
                self._names[user_id] = user_id[:8]
        return self._names[user_id]

    def cached_name(self, user_id: str) -> str:
        """The name of a user that was asked for before; else the beginning of the id."""
        return self._names.get(user_id, user_id[:8])

    async def find_user_id(self, login_name: str) -> str:
        """The id behind a login name. Raises Sorry."""
        try:
            return (await self._client.accounts.find(login_name)).user_id
        except NotFound:
            raise CommandError(f"There is no user {login_name}.") from None

    async def find_user_ids(self, login_names: Iterable[str]) -> dict[str, str]:
        """The login names by the ids behind them, each once. Raises Sorry."""
        names = list(dict.fromkeys(login_names))
        return dict(zip(await asyncio.gather(*map(self.find_user_id, names)), names, strict=True))

    async def conversation_title(self, conversation: Conversation) -> str:
        """What to call a conversation: the title of a group, the name of the other."""
        if conversation.kind == conversation_pb2.CONVERSATION_KIND_GROUP:
            return conversation.title
        me = self._client.session.user_id if self._client.session else ""
        others = [member.user_id for member in conversation.members if member.user_id != me]
        return await self.display_name(others[0]) if others else "yourself"


@contextmanager
def naming_refused_user(names: Mapping[str, str]) -> Iterator[None]:
    """Let a refusal because of one of several users say which; `names` are by user id. Raises Sorry."""
    try:
        yield
    except ParleyError as error:
        name = names.get(error.metadata.get("user_id", ""))
        if name and error.reason == "BLOCKED":
            # The server does not tell which of the two it is.
            raise CommandError(
                f"{name} cannot be added by you: {name} does not allow it, or one of you has blocked the other."
            ) from None
        if name and error.reason == "USER_NOT_FOUND":
            raise CommandError(f"{name} is not a member of the group.") from None
        raise


def is_former_member(client: Client, conversation: Conversation) -> bool:
    """Whether one is a member no more, and what one saw can only be read."""
    me = client.session.user_id if client.session else ""
    return all(member.user_id != me for member in conversation.members)


async def fetch_groups(client: Client) -> list[Conversation]:
    """The groups one is a member of, or was, by title."""
    found = [
        each async for each in client.conversations.list() if each.kind == conversation_pb2.CONVERSATION_KIND_GROUP
    ]
    return sorted(found, key=lambda each: each.title.casefold())


async def find_conversation(client: Client, people: UserDirectory, peer: str, group: str) -> Conversation:
    """As `conversation_with`, but one that is there: to look at it makes none, and no block hides it. Raises Sorry."""
    if not peer or group:
        return await open_conversation(client, people, peer, group)
    user_id = await people.find_user_id(peer)
    async for each in client.conversations.list():
        direct = each.kind == conversation_pb2.CONVERSATION_KIND_DIRECT
        if direct and any(member.user_id == user_id for member in each.members):
            return each
    raise CommandError(f"You and {peer} have not said anything to each other yet.")


async def open_conversation(client: Client, people: UserDirectory, peer: str, group: str) -> Conversation:
    """The conversation that is meant: with `peer`, or the group titled `group` (or of that id). Raises Sorry."""
    if bool(peer) == bool(group):
        raise CommandError("Say with whom: a NAME, or --group TITLE.")
    if peer:
        try:
            return await client.conversations.get_or_create_direct(await people.find_user_id(peer))
        except NotAllowed as barred:
            # Of a conversation that a block keeps from going on, what there is can be looked at.
            try:
                return await find_conversation(client, people, peer, "")
            except CommandError:
                raise barred from None
    named = [
        each
        for each in await fetch_groups(client)
        if group in (each.conversation_id, each.title) or each.title.casefold() == group.casefold()
    ]
    if not named:
        raise CommandError(f"You are in no group “{group}”. See `parley groups list`.")
    if len(named) > 1:
        ids = ", ".join(each.conversation_id for each in named)
        raise CommandError(f"You are in {len(named)} groups “{group}”: name one by its id ({ids}).")
    return named[0]
