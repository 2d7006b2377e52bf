"""Display names of users and titles of conversations, and the search for them by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from parley.chat.v1 import conversation_pb2
from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.text import one_cell
from parley_client.client import Client
from parley_client.errors import NotAllowed, NotFound, ParleyError


class UserDirectory:
    """A cache of display names by user id, which also resolves login names."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def display_name(self, user_id: str) -> str:
        """Return the display name of a user, or the first 8 characters of the id if no such user exists."""
        if user_id not in self._names:
            try:
                profile = await self._client.accounts.get_profile(user_id)
                shown_name = profile.display_name if one_cell(profile.display_name) else profile.login_name
                name = "(deleted account)" if profile.deleted else shown_name
                self._names[user_id] = name or user_id[:8]
            except NotFound:
                self._names[user_id] = user_id[:8]
        return self._names[user_id]

    def cached_name(self, user_id: str) -> str:
        """Return the cached display name of a user, or the first 8 characters of the id."""
        return self._names.get(user_id, user_id[:8])

    async def find_user_id(self, login_name: str) -> str:
        """Return the user id of a login name. Raise CommandError if no such user exists."""
        try:
            return (await self._client.accounts.find(login_name)).user_id
        except NotFound:
            raise CommandError(f"There is no user {login_name}.") from None

    async def find_user_ids(self, login_names: Iterable[str]) -> dict[str, str]:
        """Return the login names by user id, without duplicates. Raise CommandError if a user does not exist."""
        names = list(dict.fromkeys(login_names))
        return dict(zip(await asyncio.gather(*map(self.find_user_id, names)), names, strict=True))

    async def conversation_title(self, conversation: Conversation) -> str:
        """Return the title of a group, or the display name of the other member of a 1-1 conversation."""
        if conversation.kind == conversation_pb2.CONVERSATION_KIND_GROUP:
            return conversation.title
        own_id = self._client.session.user_id if self._client.session else ""
        others = [member.user_id for member in conversation.members if member.user_id != own_id]
        return await self.display_name(others[0]) if others else "yourself"


@contextmanager
def name_user_in_errors(names: Mapping[str, str]) -> Iterator[None]:
    """Raise CommandError with the user's name if the block fails because of one of several users.

    `names` has the login names by user id.
    """
    try:
        yield
    except ParleyError as error:
        name = names.get(error.metadata.get("user_id", ""))
        if name and error.reason == "BLOCKED":
            # The server hides which of the two reasons applies.
            raise CommandError(
                f"You cannot add {name}: {name} does not allow it, or one of you has blocked the other."
            ) from None
        if name and error.reason == "USER_NOT_FOUND":
            raise CommandError(f"{name} is not a member of the group.") from None
        raise


def is_former_member(client: Client, conversation: Conversation) -> bool:
    """Return True if the user is not a member any more, so that the conversation is read-only."""
    own_id = client.session.user_id if client.session else ""
    return all(member.user_id != own_id for member in conversation.members)


async def fetch_groups(client: Client) -> list[Conversation]:
    """Return the user's groups, including those the user left, sorted by title."""
    conversations = [conversation async for conversation in client.conversations.list()]
    groups = [
        conversation for conversation in conversations if conversation.kind == conversation_pb2.CONVERSATION_KIND_GROUP
    ]
    return sorted(groups, key=lambda group: group.title.casefold())


async def find_conversation(client: Client, directory: UserDirectory, peer: str, group: str) -> Conversation:
    """Return an existing conversation; unlike `open_conversation`, create none, and find a blocked one too.

    Raise CommandError if it does not exist.
    """
    if not peer or group:
        return await open_conversation(client, directory, peer, group)
    user_id = await directory.find_user_id(peer)
    # The user is a member of each of the conversations.
    if client.session is not None and user_id == client.session.user_id:
        raise CommandError("That is you. Name somebody else.")
    async for conversation in client.conversations.list():
        is_direct = conversation.kind == conversation_pb2.CONVERSATION_KIND_DIRECT
        if is_direct and any(member.user_id == user_id for member in conversation.members):
            return conversation
    raise CommandError(f"You and {peer} have not said anything to each other yet.")


async def open_conversation(client: Client, directory: UserDirectory, peer: str, group: str) -> Conversation:
    """Return the 1-1 conversation with `peer`, created if necessary, or the group with the title or id `group`.

    Raise CommandError if not exactly one of the two is given, or if it does not name exactly one conversation.
    """
    if bool(peer) == bool(group):
        raise CommandError("Name a user (NAME) or a group (--group TITLE), not both.")
    if peer:
        try:
            return await client.conversations.get_or_create_direct(await directory.find_user_id(peer))
        except NotAllowed as refusal:
            # A block forbids new messages, but the existing conversation stays readable.
            try:
                return await find_conversation(client, directory, peer, "")
            except CommandError:
                raise refusal from None
    matches = [
        conversation
        for conversation in await fetch_groups(client)
        if group in (conversation.conversation_id, conversation.title)
        or conversation.title.casefold() == group.casefold()
    ]
    if not matches:
        raise CommandError(f"You are in no group “{group}”. See `parley groups list`.")
    if len(matches) > 1:
        ids = ", ".join(conversation.conversation_id for conversation in matches)
        raise CommandError(f"You are in {len(matches)} groups “{group}”. Name one by its id: {ids}.")
    return matches[0]
