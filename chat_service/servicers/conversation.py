"""ConversationService: making and reading conversations, changing them for all, and the caller's own view."""

from __future__ import annotations

from typing import Final

from chat_service.servicers.conversations import ConversationCalls, UserChecks
from chat_service.servicers.groups import GroupCalls
from chat_service.servicers.personal import PersonalCalls
from chat_service.servicers.roles import Dependencies

NOT_YET_SERVED: Final[frozenset[str]] = frozenset()


class ConversationServicer(ConversationCalls, GroupCalls, PersonalCalls):
    """Serves ConversationService."""

    def __init__(self, roles: Dependencies, contacts: UserChecks) -> None:
        ConversationCalls.__init__(self, roles, contacts)
        GroupCalls.__init__(self, roles, contacts)
        PersonalCalls.__init__(self, roles)
