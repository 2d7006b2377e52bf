"""Notifications that were read elsewhere or deleted are withdrawn, in every order of push and receipt."""

from __future__ import annotations

import pytest

from notify_service.model.push import RetryLater, Withdrawal
from notify_service.storage.push_queue import JOBS
from tests.eventually import eventually
from tests.integration.notify.environment import (
    BOB,
    CAROL,
    CHAT,
    Answers,
    DeliveryEnvironment,
    SlowProvider,
    running_server,
)

pytestmark = pytest.mark.integration


async def test_read_elsewhere_withdraws_from_every_device(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone", "laptop")
    async with running_server(environment) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        environment.chat.change(BOB, read_seq=5, badge=0)
        for _ in range(2):
            await environment.queue_read(BOB, 5)
            await eventually(environment.is_empty)
    assert sorted(server.sent[2:]) == [("laptop", "read", 5), ("phone", "read", 5)]
    withdrawal = server.provider.pushes[-1].push
    assert isinstance(withdrawal, Withdrawal)
    assert (withdrawal.collapse_id, withdrawal.badge) == (CHAT, 0)


async def test_receipt_without_a_push_sends_nothing(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    async with running_server(environment) as server:
        await environment.queue_read(BOB, 5)
        await eventually(environment.is_empty)
    assert (server.sent, environment.chat.calls) == ([], 0)


async def test_receipt_of_a_part_changes_the_badge_alone(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    async with running_server(environment) as server:
        await environment.queue_entries(6)
        await eventually(environment.is_empty)
        environment.chat.change(BOB, read_seq=5, badge=1)
        await environment.queue_read(BOB, 5)
        await eventually(environment.is_empty)
        push = server.provider.pushes[-1].push
        assert (push.collapse_id, push.seq, push.badge) == ("badge", 5, 1)
        await environment.queue_read(BOB, 6)
        await eventually(environment.is_empty)
    assert server.sent[-1] == ("phone", "read", 6)
    assert server.provider.pushes[-1].push.collapse_id == CHAT


async def test_entry_read_while_it_is_sent_is_withdrawn_after_it(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    slow = SlowProvider()
    async with (
        running_server(environment, name="notify-1", provider=slow) as first,
        running_server(environment, name="notify-2") as second,
    ):
        # The first server has the event, the second one the receipt, whose withdrawal arrives first.
        first.loops[2].cancel()
        second.loops[1].cancel()
        await environment.queue_entries(5)
        await eventually(lambda: slow.started == 1)
        environment.chat.change(BOB, read_seq=5)
        first.loops[1].cancel()
        await second.kill()
        async with running_server(environment, name="notify-2") as second:
            await environment.queue_read(BOB, 5)
            await eventually(lambda: second.sent == [("phone", "read", 5)])
            slow.gate.set()
            await eventually(environment.is_empty)
    assert first.sent == [("phone", "message", 5), ("phone", "read", 5)]


async def test_withdrawal_that_failed_for_now_is_sent_again(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    answers = Answers()
    async with running_server(environment, answers) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        answers.answers["phone"] = [RetryLater("503")]
        environment.chat.change(BOB, read_seq=5)
        await environment.queue_read(BOB, 5)
        await eventually(environment.is_empty)
    assert server.sent == [("phone", "message", 5), ("phone", "read", 5), ("phone", "read", 5)]


async def test_withdrawal_is_not_repeated_over_a_newer_notification(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    answers = Answers()
    async with running_server(environment, answers) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        answers.answers["phone"] = [RetryLater("503")]
        environment.chat.change(BOB, read_seq=5)
        await environment.queue_read(BOB, 5)
        await eventually(lambda: environment.redis.zcard(JOBS))
        await environment.queue_entries(6)
        await eventually(environment.is_empty)
    assert server.sent == [("phone", "message", 5), ("phone", "read", 5), ("phone", "message", 6)]


async def test_withdrawal_interrupted_by_the_death_of_its_server_is_repeated(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    async with running_server(environment) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        assert server.sent == [("phone", "message", 5)]
    environment.chat.change(BOB, read_seq=5)
    slow = SlowProvider()
    async with running_server(environment, provider=slow):
        await environment.queue_read(BOB, 5)
        await eventually(lambda: slow.started == 1)
    async with running_server(environment) as again:
        await eventually(environment.is_empty)
    assert again.sent == [("phone", "read", 5)]


async def test_deletion_withdraws_the_notification_of_the_message_alone(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    await environment.register(CAROL, "tablet")
    async with running_server(environment) as server:
        await environment.queue_entries(4, users=[BOB, CAROL])
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        # Bob's device shows the next message by now.
        await environment.queue_deletion(6, 4, BOB, CAROL)
        await eventually(environment.is_empty)
        assert server.sent[-1] == ("tablet", "read", 4)
        await environment.queue_deletion(7, 5, BOB, CAROL)
        await eventually(environment.is_empty)
        assert server.sent[-1] == ("phone", "read", 5)
        assert len(server.sent) == 5
        # What is left unread is still counted on the icon.
        environment.chat.change(BOB, read_seq=3, badge=0)
        await environment.queue_read(BOB, 3)
        await eventually(environment.is_empty)
    badge = server.provider.pushes[-1].push
    assert (badge.collapse_id, badge.seq, badge.badge) == ("badge", 3, 0)


async def test_withdrawal_of_a_deleted_message_that_failed_for_now_is_sent_again(
    environment: DeliveryEnvironment,
) -> None:
    await environment.register(BOB, "phone")
    answers = Answers()
    async with running_server(environment, answers) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        answers.answers["phone"] = [RetryLater("503")]
        await environment.queue_deletion(6, 5, BOB)
        await eventually(environment.is_empty)
    assert server.sent == [("phone", "message", 5), ("phone", "read", 5), ("phone", "read", 5)]


async def test_message_that_is_deleted_while_it_is_sent_is_withdrawn_after_it(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone")
    slow = SlowProvider()
    async with running_server(environment, name="notify-1", provider=slow) as first:
        await environment.queue_entries(5)
        await eventually(lambda: slow.started == 1)
        # From now on the other server has the events, once the last wait of this one is over.
        first.loops[1].cancel()
        await eventually(environment.is_read_by_nobody)
        async with running_server(environment, name="notify-2") as second:
            await environment.queue_deletion(6, 5, BOB)
            await eventually(lambda: second.sent == [("phone", "read", 5)])
            slow.gate.set()
            await eventually(environment.is_empty)
    assert first.sent == [("phone", "message", 5), ("phone", "read", 5)]
