"""Sends that wait to be appended, and the fences of attempts that were refused."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from chat_service.errors import MessageIdReused
from chat_service.model.entry import Draft, Message
from chat_service.model.requests import Appended, AppendOutcome, Attempt, OnAppended
from servicekit.errors import RequestIdReused
from servicekit.failure import Failure


class PendingSend:
    """A draft to append, with the callbacks of its sender and of duplicates that arrived meanwhile."""

    __slots__ = ("draft", "fingerprint", "key", "known_new", "waiters")

    def __init__(self, draft: Draft, attempt: Attempt | None, reply: OnAppended) -> None:
        self.draft = draft
        self.key = draft.key
        self.fingerprint = draft.fingerprint or draft.change.fingerprint()
        self.waiters: list[tuple[Attempt | None, OnAppended]] = [(attempt, reply)]
        # True once a lookup has shown that no entry of the log has this key.
        self.known_new = False

    def answer(self, outcome: AppendOutcome) -> None:
        """Report the outcome to every waiter."""
        for _, reply in self.waiters:
            reply(outcome)

    def result_of_retry(self, fingerprint: bytes, first: Appended) -> AppendOutcome:
        """Return the result of the first send with this key, or the error if the content of that one differed."""
        return first if fingerprint == self.fingerprint else self.id_reused_error()

    def id_reused_error(self) -> Failure:
        """Return the error for a send whose key was used before with other content."""
        if isinstance(self.draft.change, Message):
            return MessageIdReused("this client_message_id was used before, with other content")
        return RequestIdReused("this request_id was used before, with another request")


MAX_FENCED: Final = 10_000


class FencedAttempts:
    """The highest refused attempt of each lane; the MAX_FENCED lanes that were used last are kept."""

    def __init__(self) -> None:
        self._numbers: LRUCache[tuple[str, str], int] = LRUCache(MAX_FENCED)

    def fence(self, attempt: Attempt, conversation_id: str) -> None:
        """Refuse all later sends of this attempt, and of earlier attempts of its lane."""
        lane = attempt.session_id, conversation_id
        self._numbers[lane] = max(attempt.number, self._numbers.get(lane, 0))

    def is_fenced(self, attempt: Attempt, conversation_id: str) -> bool:
        """Return True if a send of this attempt, or of a later one of its lane, was refused."""
        return self._numbers.get((attempt.session_id, conversation_id), -1) >= attempt.number
