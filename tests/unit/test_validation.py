"""Validation reports the violations of a message at a bounded cost."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from protovalidate import Validator

from parley.chat.v1 import chat_pb2, conversation_pb2
from servicekit import validation
from servicekit.failure import Failure
from servicekit.validation import MAX_PARTS_FULLY_CHECKED, MAX_VIOLATIONS

BAD = chat_pb2.EntryRange(conversation_id="nobody's", after_seq=-1, limit=-1)


class CountingValidator:
    """A validator that counts its calls and the violations it collected; each costs some 30 µs."""

    def __init__(self) -> None:
        self._validator = Validator()
        self.calls = self.violations_found = 0

    def collect_violations(self, message: Message, **how: Any) -> list[Any]:
        broken = self._validator.collect_violations(message, **how)
        self.calls += 1
        self.violations_found += len(broken)
        return broken


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> CountingValidator:
    counting = CountingValidator()
    monkeypatch.setattr(validation, "_validator", counting)
    return counting


def failure(message: Message) -> Failure:
    with pytest.raises(Failure) as refused:
        validation.check(message)
    assert (refused.value.code, refused.value.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    return refused.value


def fetch(count: int, each: chat_pb2.EntryRange = BAD) -> chat_pb2.ConnectRequest:
    return chat_pb2.ConnectRequest(fetch=chat_pb2.Fetch(ranges=[each] * count))


@pytest.mark.parametrize(
    "message",
    [
        fetch(60_000, chat_pb2.EntryRange()),
        fetch(4_000, chat_pb2.EntryRange()),
        fetch(MAX_PARTS_FULLY_CHECKED),
        chat_pb2.UpdateReceiptsRequest(receipts=[chat_pb2.Receipt()] * 60_000),
        conversation_pb2.AddMembersRequest(member_ids=[""] * 60_000),
    ],
    ids=["60,000 ranges", "4,000 ranges", "as many as do not count as few", "60,000 receipts", "60,000 ids"],
)
def test_validation_of_large_message_stops_at_first_violation(message: Message, counting: CountingValidator) -> None:
    assert len(failure(message).violations) == 1
    assert counting.violations_found == 1


def test_small_message_is_fully_validated_and_twenty_violations_reported(counting: CountingValidator) -> None:
    violations = failure(fetch(30)).violations
    assert len(violations) == MAX_VIOLATIONS == 20
    assert {each.field for each in violations} >= {"fetch.ranges[0].conversation_id", "fetch.ranges[0].after_seq"}
    assert counting.violations_found == 1 + 30 * 3


def test_long_text_does_not_count_as_many_parts() -> None:
    request = chat_pb2.SendMessageRequest(client_message_id="no id", conversation_id="nor this one")
    request.content.text.body = "x" * 100_000
    assert {each.field for each in failure(request).violations} >= {"client_message_id", "conversation_id"}


def test_valid_message_is_validated_once(counting: CountingValidator) -> None:
    validation.check(fetch(100, chat_pb2.EntryRange(conversation_id="c" * 32)))
    assert counting.calls == 1
