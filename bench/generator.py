"""The client of the load generator process: its requests and replies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from bench.load.device import DeviceIdentity
from devstack.errors import SetupError

EXIT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """The counters of all devices since the start, or the difference of two readings.

    `at` is a time in monotonic seconds, or a duration in a difference. `latencies` are in microseconds, from the
    previous reading on.
    """

    at: float
    sent: int
    answered: int
    delivered: int
    receipts: int
    outdated: int
    refusals: dict[str, int]
    latencies: list[int]

    def since(self, before: LoadCounts) -> LoadCounts:
        """Return the difference to an earlier reading; `at` is the time between them, in seconds."""
        return LoadCounts(
            self.at - before.at,
            self.sent - before.sent,
            self.answered - before.answered,
            self.delivered - before.delivered,
            self.receipts - before.receipts,
            self.outdated - before.outdated,
            {
                reason: count - before.refusals.get(reason, 0)
                for reason, count in self.refusals.items()
                if count != before.refusals.get(reason)
            },
            self.latencies,
        )


class LoadGenerator:
    """A process of `python -m bench.load`; a context manager. Calls raise SetupError if the load has failed."""

    def __init__(self, door: str) -> None:
        # A new session, so that Ctrl-C reaches only this process. The generator exits at the end of its stdin, however
        # this process ends.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", door],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def connect(self, devices: Sequence[DeviceIdentity]) -> None:
        """Connect more devices, each with its own connection."""
        fields = [(device.user_id, device.token, device.home, device.conversation_id) for device in devices]
        self._request(do="connect", devices=fields)

    def send_windowed(self, senders: Sequence[int], window: int, receipts: Sequence[int]) -> None:
        """Keep `window` unanswered sends in flight from each of `senders`; devices in `receipts` send receipts."""
        self._request(do="send", senders=list(senders), window=window, receipts=list(receipts))

    def send_paced(self, senders: Sequence[int], per_second: float, receipts: Sequence[int]) -> None:
        """Send `per_second` messages in total, from the senders in turn; devices in `receipts` send receipts."""
        self._request(do="send", senders=list(senders), per_second=per_second, receipts=list(receipts))

    def watch(self, watched: Sequence[Sequence[int]]) -> None:
        """Make each device watch the users of these devices; half of all go to the background, the others beat.

        Return once the watchers know.
        """
        self._request(do="watch", watched=[list(numbers) for numbers in watched])

    def change_activities(self, interval_s: float) -> None:
        """Move each device between foreground and background once in `interval_s`."""
        self._request(do="change", interval=interval_s)

    def read_counts(self) -> LoadCounts:
        """Return the counters now; latencies are those since the previous reading."""
        return LoadCounts(**self._request(do="count"))

    def _request(self, **request: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            # The process has exited, but its last reply can still be read.
            pass
        line = stdout.readline()
        if not line:
            raise SetupError("The load generator exited without a reply; see its error above.")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise SetupError(f"The load generator failed: {reply['error']}.")
        return reply

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
