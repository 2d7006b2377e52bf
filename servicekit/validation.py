"""Bytes into messages that keep the rules written in their protos, or a failure that says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from protovalidate import Validator
from protovalidate import Violation as BrokenRule

from servicekit.failure import Failure, Violation

M = TypeVar("M", bound=Message)

PARTS: Final = 128
TOLD: Final = 20

# It compiles the rules of each message type once, so there is one for all.
_validator = Validator()


def parse(message_type: type[M], data: bytes) -> M:
    """The message in `data`, its rules unchecked. Raises Failure FRAME_UNPARSABLE."""
    try:
        return message_type.FromString(data)
    except DecodeError:
        raise Failure(
            f"these bytes are no {message_type.DESCRIPTOR.full_name}",
            code="INVALID_ARGUMENT",
            reason="FRAME_UNPARSABLE",
        ) from None


def check(message: Message) -> None:
    """Raises Failure FIELD_INVALID unless `message` keeps its rules.

    It names every violation, up to TOLD; of a message of more than PARTS parts the first one only, for each costs
    time, and there may be as many as the message has bytes.
    """
    broken = _validator.collect_violations(message, fail_fast=True)
    if broken and _few(_parts(message)):
        broken = _validator.collect_violations(message)
    if broken:
        raise _field_invalid(message, broken)


def _few(parts: Iterator[None]) -> bool:
    return sum(1 for _ in islice(parts, PARTS + 1)) <= PARTS


def _parts(message: Message) -> Iterator[None]:
    """One for each message, element and value in `message`: what rules can be broken in."""
    yield None
    for field, value in message.ListFields():
        for each in value if field.is_repeated else (value,):
            if isinstance(each, Message):
                yield from _parts(each)
            else:
                yield None


def _field_invalid(message: Message, broken: list[BrokenRule]) -> Failure:
    violations = tuple(Violation(_path(each), each.proto.message or each.proto.rule_id) for each in broken[:TOLD])
    first = violations[0]
    return Failure(
        f"{message.DESCRIPTOR.name}.{first.field}: {first.description}",
        code="INVALID_ARGUMENT",
        reason="FIELD_INVALID",
        violations=violations,
    )


def _path(rule: BrokenRule) -> str:
    if rule.proto.field is None:
        return ""
    return ".".join(
        element.field_name if element.subscript is None else f"{element.field_name}[{element.subscript.value}]"
        for element in rule.proto.field.elements
    )
