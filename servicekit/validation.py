"""Parsing of requests, and validation by the rules that are written in their protos."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from protovalidate import Validator
from protovalidate import Violation as BrokenRule

from servicekit.failure import Failure, Violation

MessageT = TypeVar("MessageT", bound=Message)

MAX_PARTS_FULLY_CHECKED: Final = 128
MAX_VIOLATIONS: Final = 20

# A validator compiles the rules of each message type once, so all calls share it.
_validator = Validator()


def parse(message_type: type[MessageT], data: bytes) -> MessageT:
    """Parse `data` without checking the rules. Raise Failure FRAME_UNPARSABLE if it is not a `message_type`."""
    try:
        return message_type.FromString(data)
    except DecodeError:
        raise Failure(
            f"the bytes are not a {message_type.DESCRIPTOR.full_name}",
            code="INVALID_ARGUMENT",
            reason="FRAME_UNPARSABLE",
        ) from None


def check(message: Message) -> None:
    """Raise Failure FIELD_INVALID if `message` violates a rule.

    The failure lists up to MAX_VIOLATIONS violations. For a message of more than MAX_PARTS_FULLY_CHECKED parts it lists
    only the first: each violation costs time, and a message may have as many as it has bytes.
    """
    broken = _validator.collect_violations(message, fail_fast=True)
    if broken and _has_few_parts(_iterate_parts(message)):
        broken = _validator.collect_violations(message)
    if broken:
        raise _field_invalid(message, broken)


def _has_few_parts(parts: Iterator[None]) -> bool:
    return sum(1 for _ in islice(parts, MAX_PARTS_FULLY_CHECKED + 1)) <= MAX_PARTS_FULLY_CHECKED


def _iterate_parts(message: Message) -> Iterator[None]:
    """Yield once for each message, element and value in `message` that can violate a rule."""
    yield None
    for field, value in message.ListFields():
        for part in value if field.is_repeated else (value,):
            if isinstance(part, Message):
                yield from _iterate_parts(part)
            else:
                yield None


def _field_invalid(message: Message, broken: list[BrokenRule]) -> Failure:
    violations = tuple(
        Violation(_field_path(rule), rule.proto.message or rule.proto.rule_id) for rule in broken[:MAX_VIOLATIONS]
    )
    first = violations[0]
    return Failure(
        f"{message.DESCRIPTOR.name}.{first.field}: {first.description}",
        code="INVALID_ARGUMENT",
        reason="FIELD_INVALID",
        violations=violations,
    )


def _field_path(rule: BrokenRule) -> str:
    if rule.proto.field is None:
        return ""
    return ".".join(
        element.field_name if element.subscript is None else f"{element.field_name}[{element.subscript.value}]"
        for element in rule.proto.field.elements
    )
