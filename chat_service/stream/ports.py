"""The ports of an edge: the homes and owners that the mesh implements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chat_service.model.delivery import AttachedSession
from chat_service.model.entry import Draft
from chat_service.model.requests import AppendOutcome, Attempt, OnDone, Receipt


class Homes(Protocol):
    """The homes of users."""

    def home_of(self, user_id: str) -> str:
        """Return the id of the server that is home to a user; empty while there is no ring."""

    def address_of(self, user_id: str) -> str:
        """Return the public address of a user's home; empty while there is no ring."""

    async def attach(self, home: str, session: AttachedSession, reattach: bool) -> bool:
        """Attach a session to its home, a new one or with `reattach`; return False if the home cannot be reached."""

    def set_activity(self, home: str, session: AttachedSession) -> None:
        """Tell the home that a session has moved between foreground and background."""

    def detach(self, home: str, user_id: str, session_id: str) -> None:
        """Tell the home that a session ended."""


class Owners(Protocol):
    """The owners of conversations."""

    def route_append(self, draft: Draft, attempt: Attempt, target: str, reply: Callable[[AppendOutcome], None]) -> None:
        """Send `draft` to the server `target` to append it; `reply` is called once."""

    def send_receipt(self, receipt: Receipt, reply: OnDone) -> None:
        """Send a receipt to the owner; `reply` is called once, when the watermarks are stored or refused."""

    def publish_typing(self, user_id: str, conversation_id: str, typing: bool) -> None:
        """Tell the other members that a member is typing or has stopped, if the owner can be reached now."""

    def owner_of(self, conversation_id: str) -> str:
        """Return the id of the server that owns a conversation; empty while there is no ring."""
