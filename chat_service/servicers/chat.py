"""ChatService: the stream of a device, catching up, and messages."""

from __future__ import annotations

from typing import Final

from chat_service.servicers.catching_up import CatchingUpCalls
from chat_service.servicers.messages import MessageCalls
from chat_service.servicers.roles import Dependencies
from chat_service.servicers.streams import StreamCalls

NOT_YET_SERVED: Final[frozenset[str]] = frozenset()
# It needs no store, so it is answered also while none can be reached.
ADMITTED_ANYWAY: Final = frozenset({"Locate"})


class ChatServicer(StreamCalls, CatchingUpCalls, MessageCalls):
    """Serves ChatService."""

    def __init__(self, roles: Dependencies) -> None:
        StreamCalls.__init__(self, roles)
        CatchingUpCalls.__init__(self, roles)
        MessageCalls.__init__(self, roles)
