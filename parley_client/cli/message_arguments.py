"""The words on a command line that name a message: `bob 12`, or `12` with --group."""

from __future__ import annotations

from parley_client.cli.errors import CommandError
from parley_client.cli.options import MAX_SEQ
from parley_client.client import Client
from parley_client.message import Message


def parse_message_arguments(arguments: list[str], group: str) -> tuple[str, int, list[str]]:
    """Return the login name (empty with --group), the seq and the remaining arguments. Raise CommandError."""
    peer, rest = ("", arguments) if group else (arguments[0], arguments[1:])
    if not rest or not rest[0].isdecimal() or not 0 < int(rest[0]) <= MAX_SEQ:
        raise CommandError("SEQ must be the number of a message; `parley history NAME --seqs` shows the numbers.")
    return peer, int(rest[0]), rest[1:]


async def fetch_message(client: Client, conversation_id: str, seq: int) -> Message:
    """Return the message `seq` of a conversation. Raise CommandError if there is none, and ParleyError."""
    async for message in client.messages.list_before(conversation_id, min(seq + 1, MAX_SEQ), limit=1):
        if message.seq == seq:
            return message
    raise CommandError("There is no such message, or it was deleted.")
