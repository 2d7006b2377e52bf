"""A send on its way into the log, and those who wait for its answer."""

from __future__ import annotations

from dataclasses import dataclass

from chat_service.errors import MessageIdReused, RequestIdReused
from chat_service.model.answer import Appended, AppendOutcome, OnAppended
from chat_service.model.entry import Draft, Message


@dataclass(frozen=True, slots=True)
class Attempt:
    """Whose order is to be kept: the sends of one session to one conversation, which an edge sends again together."""

    session_id: str
    # Rises each time.
    number: int


class PendingSend:
    """A draft that waits, and all who want its answer: a repeat of it waits with it."""

    __slots__ = ("draft", "fingerprint", "key", "known_new", "waiters")

    def __init__(self, draft: Draft, attempt: Attempt | None, reply: OnAppended) -> None:
        self.draft = draft
        self.key = draft.key
        self.fingerprint = draft.change.fingerprint()
        self.waiters: list[tuple[Attempt | None, OnAppended]] = [(attempt, reply)]
        # Whether the log is known not to hold it; if not, only the unique index can tell.
        self.known_new = False

    def answer(self, answer: AppendOutcome) -> None:
        """Tell all who wait."""
        for _, reply in self.waiters:
            reply(answer)

    def result_of_repeat(self, fingerprint: bytes, first: Appended) -> AppendOutcome:
        """What a repeat is told: the first answer, if it says the same as the first."""
        if fingerprint == self.fingerprint:
            return first
        if isinstance(self.draft.change, Message):
            return MessageIdReused("this client_message_id was used before, with other content")
        return RequestIdReused("this request_id was used before, with another request")
