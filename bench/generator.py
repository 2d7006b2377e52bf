"""The load generator as a process: what it is told, and what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from bench.load.device import Identity
from devstack.errors import SetupError

EXIT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What the devices did since another moment, or since the beginning; `latencies` in microseconds."""

    at: float
    sent: int
    answered: int
    delivered: int
    receipts: int
    refusals: dict[str, int]
    latencies: list[int]

    def since(self, before: LoadCounts) -> LoadCounts:
        """What they did between two moments; `at` is the time between them, in seconds."""
        return LoadCounts(
            self.at - before.at,
            self.sent - before.sent,
            self.answered - before.answered,
            self.delivered - before.delivered,
            self.receipts - before.receipts,
            {why: n - before.refusals.get(why, 0) for why, n in self.refusals.items() if n != before.refusals.get(why)},
            self.latencies,
        )


class LoadGenerator:
    """`python -m bench.load`; a context manager. Every call raises Trouble when the load came to an end."""

    def __init__(self, door: str) -> None:
        # A session of its own: Ctrl-C is for us, and the end of its input is the end of it, however we end.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", door],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def connect(self, devices: Sequence[Identity]) -> None:
        """Connect these too, one connection each."""
        self._request(
            do="connect", devices=[(each.user_id, each.token, each.home, each.conversation_id) for each in devices]
        )

    def send_windowed(self, senders: Sequence[int], window: int, receipts: Sequence[int]) -> None:
        """From now on each of these devices has `window` sends without an answer; `receipts` tell what they have."""
        self._request(do="send", senders=list(senders), window=window, receipts=list(receipts))

    def send_paced(self, senders: Sequence[int], per_second: float, receipts: Sequence[int]) -> None:
        """From now on these devices take turns, so many sends a second in all."""
        self._request(do="send", senders=list(senders), per_second=per_second, receipts=list(receipts))

    def read_counts(self) -> LoadCounts:
        """Where it stands; latencies are those since the last time."""
        return LoadCounts(**self._request(do="count"))

    def _request(self, **what: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(what) + "\n")
            stdin.flush()
        except BrokenPipeError:
            # Its last words are still there to be read.
            pass
        line = stdout.readline()
        if not line:
            raise SetupError("The load generator ended without a word; its error stands above.")
        told: dict[str, Any] = json.loads(line)
        if "trouble" in told:
            raise SetupError(f"The load came to an end: {told['trouble']}.")
        return told

    def __enter__(self) -> LoadGenerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        try:
            self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
