"""The queue of pushes and the record of the provider, as the benchmark fills and reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from redis import Redis

from devstack.errors import SetupError
from parley.chat.v1 import entry_pb2
from parley.internal.v1.notify_pb2 import QueuedEntries, QueuedPush

QUEUE: Final = "notify:queue"
RETRIES: Final = "{notify:queue}:retry"
BATCH: Final = 500
POLL_S: Final = 0.02
TIMEOUT_S: Final = 300.0


class PushQueue:
    """The queue of a system, and the file in which its provider records pushes; a context manager."""

    def __init__(self, redis_url: str, recorded: Path) -> None:
        self._redis: Any = Redis.from_url(redis_url)
        self._recorded = recorded

    def __enter__(self) -> PushQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.close()

    def add(self, events: Sequence[bytes]) -> None:
        """Queue serialised events."""
        for start in range(0, len(events), BATCH):
            with self._redis.pipeline(transaction=False) as pipeline:
                for event in events[start : start + BATCH]:
                    pipeline.xadd(QUEUE, {"event": event})
                pipeline.execute()

    def wait_drained(self) -> None:
        """Wait until no event waits, and no push is to be sent again. Raise SetupError after TIMEOUT_S."""
        _wait(lambda: not self._redis.xlen(QUEUE) + self._redis.zcard(RETRIES), "The queue of pushes has not drained")

    def wait_recorded(self, offset: int, tokens: set[str]) -> None:
        """Wait until each token got a push since the record had `offset` bytes. Raise SetupError after TIMEOUT_S."""
        _wait(lambda: tokens <= {push["token"] for push in self.read_record(offset)}, "Not everyone got a push")

    def record_size(self) -> int:
        """Return the length of the record in bytes."""
        return self._recorded.stat().st_size if self._recorded.exists() else 0

    def read_record(self, offset: int) -> list[dict[str, Any]]:
        """Return the pushes that were recorded since the record had a length of `offset` bytes."""
        if not self._recorded.exists():
            return []
        with self._recorded.open("rb") as file:
            file.seek(offset)
            complete = file.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in complete.splitlines()]


def _wait(is_reached: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_reached():
        if time.monotonic() > deadline:
            raise SetupError(f"{failure} in {TIMEOUT_S:.0f} s.")
        time.sleep(POLL_S)


def encode_event(conversation_id: str, seq: int, author_id: str, user_ids: Sequence[str]) -> bytes:
    """Return the event of a message for users who are away, as their home queues it."""
    entry = entry_pb2.Entry(conversation_id=conversation_id, seq=seq, actor_id=author_id)
    entry.message_appended.content.text.body = "." * 100
    queued = QueuedPush(entries=QueuedEntries(conversation_id=conversation_id, entries=[entry], user_ids=user_ids))
    queued.queue_time.GetCurrentTime()
    return queued.SerializeToString()
