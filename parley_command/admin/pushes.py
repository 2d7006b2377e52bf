"""`parley admin queues`, `dead-letters` and `push`: the queue of pushes, what failed for good, and pushes to a user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from parley.internal.v1 import notify_pb2
from parley.internal.v1.notify_pb2_grpc import NotifyAdminServiceStub
from parley.notify.v1 import notify_pb2 as public_pb2
from parley_client.cli.command import err, print_json, print_line
from parley_command.admin.fleet import Fleet
from parley_command.admin.tables import align, format_duration, to_fields

PAGE: Final = 1000
# A server that works asks for events every few seconds, and others claim the events of one that did not for 30 s.
STUCK_AFTER_S: Final = 30.0


async def show_queues(fleet: Fleet, as_json: bool) -> None:
    """Print the depth of the queue of pushes, and its consumers with a remark on those that are stuck or gone."""
    request = notify_pb2.DescribeQueueRequest()
    queue = await fleet.call_any("notify", NotifyAdminServiceStub, "DescribeQueue", request)
    if as_json:
        print_json({"queue": "pushes", **to_fields(queue)})
        return
    oldest = format_duration(queue.oldest_event_age) if queue.events else "-"
    header = ("queue", "events", "oldest", "pending", "retrying", "dead letters")
    counts = (queue.events, oldest, queue.taken_events, queue.retry_jobs, queue.dead_letters)
    for line in align(header, [("pushes", *map(str, counts))]):
        print_line(line)
    registered = {server.server_id for server in fleet.list_of("notify")}
    rows = [
        (each.server_id, str(each.taken_events), format_duration(each.idle_duration), remark_on(each, registered))
        for each in queue.consumers
    ]
    print_line("")
    for line in align(("consumer", "pending", "idle", ""), rows):
        print_line(line)


def remark_on(consumer: notify_pb2.QueueConsumer, registered: set[str]) -> str:
    """Return the reason why an operator should look at a consumer; empty if there is none."""
    if consumer.server_id not in registered:
        return "not registered; others claim its events" if consumer.taken_events else "not registered"
    stuck = consumer.taken_events and consumer.idle_duration.ToMilliseconds() / 1000 > STUCK_AFTER_S
    return "stuck" if stuck else ""


async def show_letters(fleet: Fleet, as_json: bool) -> None:
    """Print the pushes that failed for good, the oldest first."""
    found = 0
    async for letter in _list_letters(fleet):
        found += 1
        print_json(letter) if as_json else print_line(_describe_letter(letter))
    if not found and not as_json:
        err.print("No push failed for good.", style="dim")


async def requeue_letters(fleet: Fleet, ids: Sequence[str], as_json: bool) -> None:
    """Have dead letters sent again; without `ids` all of them."""
    await _change_letters(fleet, ids, as_json, notify_pb2.RequeueDeadLettersRequest, "requeued")


async def delete_letters(fleet: Fleet, ids: Sequence[str], as_json: bool) -> None:
    """Delete dead letters; without `ids` all of them."""
    await _change_letters(fleet, ids, as_json, notify_pb2.DeleteDeadLettersRequest, "deleted")


async def _change_letters(
    fleet: Fleet,
    ids: Sequence[str],
    as_json: bool,
    request_type: type[notify_pb2.RequeueDeadLettersRequest | notify_pb2.DeleteDeadLettersRequest],
    done: str,
) -> None:
    """Call the method of `request_type` with dead letters, without `ids` with all, and print how many are `done`."""
    chosen = list(ids) or [letter.id async for letter in _list_letters(fleet)]
    method = request_type.DESCRIPTOR.name.removesuffix("Request")
    count = 0
    for start in range(0, len(chosen), PAGE):
        request = request_type(ids=chosen[start : start + PAGE])
        response = await fleet.call_any("notify", NotifyAdminServiceStub, method, request)
        count += getattr(response, f"{done}_count")
    print_json({f"{done}_count": count}) if as_json else print_line(f"{count} of {len(chosen)} {done}")


async def trace_pushes(fleet: Fleet, user: str, as_json: bool) -> None:
    """Print the last decisions about pushes to a user."""
    request = notify_pb2.TracePushesRequest(user_id=await fleet.find_user(user))
    response = await fleet.call_any("notify", NotifyAdminServiceStub, "TracePushes", request)
    for decision in response.decisions:
        print_json(decision) if as_json else print_line(_describe_decision(decision))
    if not response.decisions and not as_json:
        print_line("no decision in the last 7 days", style="dim")


async def send_test_push(fleet: Fleet, user: str, as_json: bool) -> None:
    """Send a notification to the devices of a user, and print the answers of the providers."""
    request = notify_pb2.SendTestPushRequest(user_id=await fleet.find_user(user))
    response = await fleet.call_any("notify", NotifyAdminServiceStub, "SendTestPush", request)
    for result in response.results:
        outcome = f"{_provider(result.provider)}  {_outcome(result.outcome, result)}"
        print_json(result) if as_json else print_line(f"device {result.device_id}  {outcome}")
    if not response.results and not as_json:
        print_line("the user has no push token", style="dim")


async def _list_letters(fleet: Fleet) -> AsyncIterator[notify_pb2.DeadLetter]:
    request = notify_pb2.ListDeadLettersRequest(page_size=PAGE)
    while True:
        page = await fleet.call_any("notify", NotifyAdminServiceStub, "ListDeadLetters", request)
        for letter in page.dead_letters:
            yield letter
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _describe_decision(decision: public_pb2.PushDecision) -> str:
    device = f"  device {decision.device_id}  {_provider(decision.provider)}" if decision.device_id else ""
    return (
        f"{decision.decide_time.ToJsonString()}  conversation {decision.conversation_id}  seq {decision.seq}{device}  "
        f"{_outcome(decision.outcome, decision)}"
    )


def _describe_letter(letter: notify_pb2.DeadLetter) -> str:
    whom = f"  user {letter.user_id}  device {letter.device_id}" if letter.user_id else ""
    where = f"  conversation {letter.conversation_id}" if letter.conversation_id else ""
    return f"{letter.id}  {letter.fail_time.ToJsonString()}{whom}{where}  attempts {letter.attempts}  {letter.reason}"


def _outcome(outcome: int, source: public_pb2.PushDecision | public_pb2.TestPushResult) -> str:
    name = public_pb2.PushOutcome.Name(public_pb2.PushOutcome.ValueType(outcome))
    reason = f": {source.provider_reason}" if source.provider_reason else ""
    return name.removeprefix("PUSH_OUTCOME_").lower().replace("_", " ") + reason


def _provider(provider: int) -> str:
    name = public_pb2.PushProvider.Name(public_pb2.PushProvider.ValueType(provider))
    return name.removeprefix("PUSH_PROVIDER_").lower()
