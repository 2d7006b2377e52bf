"""A line-based chat ends when its input ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import stdin_lines
from parley_client.cli.line_chat import LineChat
from parley_client.messages import AppendResult
from parley_client.stream_protocol import PendingSend


class AnsweringDevice:
    """A device whose sends are acknowledged at once."""

    async def wait_for_room(self) -> None:
        pass

    def send(self, conversation_id: str, text: str) -> PendingSend:
        sending = PendingSend(conversation_id, text)
        sending.result.set_result(AppendResult(1, datetime.now(UTC)))
        return sending


async def one_line(_: int) -> AsyncIterator[str]:
    """Yield one line and end."""
    yield "hello\n"


@pytest.mark.timeout(20)
async def test_chat_ends_when_last_response_arrives_with_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdin_lines, "read_lines", one_line)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: 0))
    room = LineChat(None, None, Conversation(conversation_id="c"))  # type: ignore[arg-type]
    # A regression: the room awaited a completed response in a loop, without yielding to its callbacks.
    await asyncio.wait_for(room._send_lines(AnsweringDevice()), 10)  # type: ignore[arg-type]
