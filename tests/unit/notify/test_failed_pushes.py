"""The failed pushes of an event: when a push is sent again, and when it is a dead letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_service.delivery.failed_pushes import GIVE_UP_AFTER_MS, MAX_RETRY_S, FailedPushes, backoff_s
from notify_service.delivery.sender import SendResult
from notify_service.model.composition import LIFETIME_S
from notify_service.model.decision import PushOutcome
from notify_service.model.events import PushJob, QueuedRead
from notify_service.model.push import FcmToken
from notify_service.model.registration import Registration
from notify_service.wire.events import decode_job

NOW_MS = 1_800_000_000_000
PHONE = Registration("a" * 32, "b" * 32, FcmToken("phone"))
EVENT = QueuedRead(PHONE.user_id, "c" * 32, 5, NOW_MS)
BUSY = SendResult(PushOutcome.RETRYING, "503")


def after(attempts: int, first_ms: int = NOW_MS) -> FailedPushes:
    """Return the failed pushes of an attempt that follows that many: none yet."""
    previous = PushJob(EVENT, PHONE.user_id, PHONE.device_id, attempts, first_ms) if attempts else None
    return FailedPushes(NOW_MS, previous)


def test_pauses_double_up_to_a_maximum() -> None:
    assert [backoff_s(each) for each in (1, 2, 3, 9, 10, 10_000)] == [1, 2, 4, 256, MAX_RETRY_S, MAX_RETRY_S]


@pytest.mark.parametrize(
    "outcome", [each for each in PushOutcome if each not in (PushOutcome.RETRYING, PushOutcome.FAILED)]
)
def test_push_that_has_its_outcome_is_not_failed(outcome: PushOutcome) -> None:
    failed = after(0)
    failed.add(EVENT, PHONE, SendResult(outcome))
    assert (failed.jobs, failed.dead_letters) == ([], [])


@given(st.integers(0, 1000), st.none() | st.floats(0, 86_000))
def test_push_is_sent_again_after_the_longer_of_both_delays(attempts: int, provider_s: float | None) -> None:
    failed = after(attempts)
    failed.add(EVENT, PHONE, SendResult(PushOutcome.RETRYING, "429", provider_s))
    [delayed] = failed.jobs
    job = decode_job(delayed.payload)
    assert (job.attempts, job.first_attempt_ms, job.device_id) == (attempts + 1, NOW_MS, PHONE.device_id)
    assert delayed.delay_s == max(backoff_s(attempts + 1), provider_s or 0)


@pytest.mark.parametrize(
    ("event", "first_ms"),
    [
        (EVENT, NOW_MS - GIVE_UP_AFTER_MS),
        (QueuedRead(PHONE.user_id, "c" * 32, 5, NOW_MS - LIFETIME_S * 1000), NOW_MS),
    ],
    ids=["a day of attempts", "its lifetime"],
)
def test_push_is_given_up_after(event: QueuedRead, first_ms: int) -> None:
    failed = after(30, first_ms)
    failed.add(event, PHONE, BUSY)
    assert failed.jobs == []
    [letter] = failed.dead_letters
    assert (letter.reason, letter.is_event) == ("not accepted in time: 503", False)
    assert decode_job(letter.payload).attempts == 31


def test_delay_of_the_provider_beyond_the_day_is_not_waited_for() -> None:
    failed = after(0)
    failed.add(EVENT, PHONE, SendResult(PushOutcome.RETRYING, "429", 2 * 86_400))
    assert (len(failed.jobs), len(failed.dead_letters)) == (0, 1)


def test_refused_push_is_a_dead_letter_at_once() -> None:
    failed = after(0)
    failed.add(EVENT, PHONE, SendResult(PushOutcome.FAILED, "PayloadTooLarge"))
    assert [each.reason for each in failed.dead_letters] == ["PayloadTooLarge"]
