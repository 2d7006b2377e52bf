"""NotifyAdminService: traces, test notifications, the queue and dead letters, for operators."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from notify_service.model.events import PushJob, QueuedEntries, QueuedRead
from notify_service.model.ports import DeadLetter, PushQueue
from notify_service.servicers.decisions import DecisionReader
from notify_service.servicers.trial import TrialPushes
from notify_service.wire.events import decode_event, decode_job, encode_job
from notify_service.wire.notify import encode_decisions, to_timestamp
from parley.internal.v1 import notify_pb2
from servicekit.audit import AuditRule, AuditTable, Fields
from servicekit.clock import Clock
from servicekit.durations import to_duration
from servicekit.page_tokens import decode_page_token, next_page_token
from servicekit.rpc import Call

DEFAULT_PAGE: Final = 100
_LETTER_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


def _tested_device(request: notify_pb2.SendTestPushRequest, _: object) -> Fields:
    return {"user": request.user_id, **({"device": request.device_id} if request.device_id else {})}


def _letters(request: notify_pb2.RequeueDeadLettersRequest | notify_pb2.DeleteDeadLettersRequest, _: object) -> Fields:
    return {"dead_letters": list(request.ids)}


AUDITED: Final[AuditTable] = {
    "SendTestPush": AuditRule("test_push", _tested_device),
    "RequeueDeadLetters": AuditRule("dead_letter_requeue", _letters),
    "DeleteDeadLetters": AuditRule("dead_letter_deletion", _letters),
}


class NotifyAdminServicer:
    """Serves operators."""

    def __init__(self, queue: PushQueue, decisions: DecisionReader, trial: TrialPushes, clock: Clock) -> None:
        self._queue = queue
        self._decisions = decisions
        self._trial = trial
        self._clock = clock

    async def TracePushes(self, request: notify_pb2.TracePushesRequest, call: Call) -> notify_pb2.TracePushesResponse:
        """Return the last decisions about pushes to a user."""
        del call
        decisions = await self._decisions.read(request.user_id)
        return notify_pb2.TracePushesResponse(decisions=encode_decisions(decisions))

    async def SendTestPush(
        self, request: notify_pb2.SendTestPushRequest, call: Call
    ) -> notify_pb2.SendTestPushResponse:
        """Send a notification to devices of a user now."""
        del call
        results = await self._trial.send(request.user_id, request.device_id)
        return notify_pb2.SendTestPushResponse(results=results)

    async def DescribeQueue(self, _: notify_pb2.DescribeQueueRequest, __: Call) -> notify_pb2.DescribeQueueResponse:
        """Return the depth of the queue and its consumers."""
        depth, consumers = await self._queue.measure(), await self._queue.list_consumers()
        return notify_pb2.DescribeQueueResponse(
            events=depth.events,
            oldest_event_age=to_duration(depth.oldest_s) if depth.events else None,
            taken_events=sum(each.taken_events for each in consumers),
            retry_jobs=depth.jobs,
            dead_letters=depth.dead_letters,
            consumers=[
                notify_pb2.QueueConsumer(
                    server_id=each.name, taken_events=each.taken_events, idle_duration=to_duration(each.idle_s)
                )
                for each in consumers
            ],
        )

    async def ListDeadLetters(
        self, request: notify_pb2.ListDeadLettersRequest, call: Call
    ) -> notify_pb2.ListDeadLettersResponse:
        """Return a page of the pushes that failed for good."""
        del call
        size, after = request.page_size or DEFAULT_PAGE, decode_page_token(request, _LETTER_ID)
        found = await self._queue.list_dead_letters(after, size + 1)
        return notify_pb2.ListDeadLettersResponse(
            dead_letters=map(_encode_letter, found[:size]),
            next_page_token=next_page_token(request, found, size, lambda each: each.letter_id),
        )

    async def RequeueDeadLetters(
        self, request: notify_pb2.RequeueDeadLettersRequest, call: Call
    ) -> notify_pb2.RequeueDeadLettersResponse:
        """Send pushes that failed for good again."""
        del call
        letters = await self._queue.find_dead_letters(request.ids)
        count = await self._queue.requeue([_renew(each, self._clock.now_ms()) for each in letters])
        return notify_pb2.RequeueDeadLettersResponse(requeued_count=count)

    async def DeleteDeadLetters(
        self, request: notify_pb2.DeleteDeadLettersRequest, _: Call
    ) -> notify_pb2.DeleteDeadLettersResponse:
        """Delete pushes that failed for good."""
        count = await self._queue.delete_dead_letters(request.ids)
        return notify_pb2.DeleteDeadLettersResponse(deleted_count=count)


def _renew(letter: DeadLetter, now_ms: int) -> DeadLetter:
    """Return a letter whose job counts as queued now; one that cannot be read stays as it is."""
    if letter.is_event:
        return letter
    try:
        job = decode_job(letter.payload)
    except ValueError:
        return letter
    event = replace(job.event, queued_ms=now_ms)
    payload = encode_job(replace(job, event=event, attempts=0, first_attempt_ms=now_ms))
    return replace(letter, payload=payload)


def _encode_letter(letter: DeadLetter) -> notify_pb2.DeadLetter:
    encoded = notify_pb2.DeadLetter(
        id=letter.letter_id,
        fail_time=to_timestamp(int(letter.letter_id.partition("-")[0])),
        reason=letter.reason,
    )
    found = _decode(letter)
    if isinstance(found, PushJob):
        encoded.user_id, encoded.device_id, encoded.attempts = found.user_id, found.device_id, found.attempts
        encoded.conversation_id = found.event.conversation_id
    elif found is not None:
        encoded.conversation_id = found.conversation_id
    return encoded


def _decode(letter: DeadLetter) -> PushJob | QueuedEntries | QueuedRead | None:
    try:
        return decode_event(letter.payload) if letter.is_event else decode_job(letter.payload)
    except ValueError:
        return None
