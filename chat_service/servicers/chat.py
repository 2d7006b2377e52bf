"""ChatService: the stream of a device, and the calls about messages."""

from __future__ import annotations

from typing import Final

from chat_service.errors import Invalid
from chat_service.history.history import History
from chat_service.mesh.homes import Homes
from chat_service.stream.edge import Edge
from chat_service.wire.conversations import A_SEQ, page_token, read_page_token
from chat_service.wire.entries import shown
from parley.chat.v1 import chat_pb2, entry_pb2
from servicekit.failure import Violation
from servicekit.rpc import ByteStream, Call

NOT_YET_SERVED: Final = frozenset(
    {
        "Subscribe",
        "SendMessage",
        "UpdateReceipts",
        "ListChanges",
        "ListEntries",
        "SetTyping",
        "WatchPresence",
        "Heartbeat",
        "Reauthenticate",
        "EditMessage",
        "DeleteMessage",
        "SetReaction",
        "SearchMessages",
        "ListReaders",
    }
)
# It needs no store, so it is answered also while none can be reached.
ADMITTED_ANYWAY: Final = frozenset({"Locate"})
DEFAULT_PAGE: Final = 50
BEFORE: Final = "before"
AFTER: Final = "after"


class ChatServicer:
    """Serves ChatService."""

    def __init__(self, edge: Edge, homes: Homes, history: History) -> None:
        self._edge = edge
        self._homes = homes
        self._history = history

    async def Connect(self, stream: ByteStream, call: Call) -> None:
        """The stream of a device."""
        await self._edge.connect(stream, call)

    async def Locate(self, _: chat_pb2.LocateRequest, call: Call) -> chat_pb2.LocateResponse:
        """The name of the caller's home."""
        return chat_pb2.LocateResponse(home=self._homes.address_of(call.caller.user_id))

    async def ListMessages(self, request: chat_pb2.ListMessagesRequest, call: Call) -> chat_pb2.ListMessagesResponse:
        """Messages as they are shown, in either direction."""
        user_id, size = call.caller.user_id, request.page_size or DEFAULT_PAGE
        direction, place = _place(request)
        found = await self._history.messages(
            user_id,
            request.conversation_id,
            before_seq=place if direction == BEFORE else 0,
            after_seq=place if direction == AFTER else 0,
            limit=size + 1,
        )
        shown_ones = [entry_pb2.Entry.FromString(shown(entry, user_id)) for entry in found[:size]]
        more = page_token(direction, str(found[size - 1].seq)) if len(found) > size else ""
        return chat_pb2.ListMessagesResponse(messages=shown_ones, next_page_token=more)


def _place(request: chat_pb2.ListMessagesRequest) -> tuple[str, int]:
    """In which direction from which seq to read. Raises Invalid."""
    if request.before_seq and request.after_seq:
        raise Invalid(
            "at most one of before_seq and after_seq may be set",
            violations=(Violation("after_seq", "must be 0 when before_seq is set"),),
        )
    direction = AFTER if request.after_seq else BEFORE
    token = read_page_token(direction, request.page_token, A_SEQ)
    return direction, int(token) if token else request.after_seq or request.before_seq
