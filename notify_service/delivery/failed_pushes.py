"""The failed pushes of an event: jobs that are sent again, and dead letters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from notify_service.delivery.sender import SendResult
from notify_service.model.composition import LIFETIME_S
from notify_service.model.decision import PushOutcome
from notify_service.model.events import PushEvent, PushJob
from notify_service.model.ports import DeadLetter, DelayedJob
from notify_service.model.registration import Registration
from notify_service.wire.events import encode_job

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 300.0
# A push that no provider accepted for this long is a dead letter.
GIVE_UP_AFTER_MS: Final = 86_400_000


@dataclass(slots=True)
class FailedPushes:
    """The failed pushes of an event or job. `previous` is the job whose attempt this is, None at the first."""

    now_ms: int
    previous: PushJob | None = None
    jobs: list[DelayedJob] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def add(self, event: PushEvent, registration: Registration, result: SendResult) -> None:
        """Add a push of the event to one device if the attempt to send it failed."""
        if result.outcome not in (PushOutcome.RETRYING, PushOutcome.FAILED):
            return
        attempts = 1 if self.previous is None else self.previous.attempts + 1
        first_ms = self.now_ms if self.previous is None else self.previous.first_attempt_ms
        job = PushJob(event, registration.user_id, registration.device_id, attempts, first_ms)
        if result.outcome is PushOutcome.FAILED:
            self.dead_letters.append(DeadLetter(encode_job(job), result.reason))
        else:
            self._add_later(job, result)

    def add_fault(self, job: PushJob, result: SendResult) -> None:
        """Add a job again that could not be processed."""
        self._add_later(replace(job, attempts=job.attempts + 1), result)

    def _add_later(self, job: PushJob, result: SendResult) -> None:
        delay_s = max(backoff_s(job.attempts), result.retry_s or 0.0)
        due_ms = self.now_ms + delay_s * 1000
        if due_ms > min(job.first_attempt_ms + GIVE_UP_AFTER_MS, job.event.queued_ms + LIFETIME_S * 1000):
            self.dead_letters.append(DeadLetter(encode_job(job), f"not accepted in time: {result.reason}"))
        else:
            self.jobs.append(DelayedJob(encode_job(job), delay_s))


def backoff_s(attempts: int) -> float:
    """Return the pause after that many attempts, in seconds: it doubles from FIRST_RETRY_S to MAX_RETRY_S."""
    return float(min(FIRST_RETRY_S * 2 ** min(attempts - 1, 16), MAX_RETRY_S))
