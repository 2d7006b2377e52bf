"""The comparison of what is said today with what was recorded: today may say more, and nothing else."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def contains(today: Message, recorded: Message) -> bool:
    """Return true if a message says all that a recorded one of the same type says."""
    return all(_contains_field(today, field, value) for field, value in recorded.ListFields())


def _contains_field(today: Message, field: FieldDescriptor, recorded: Any) -> bool:
    value = getattr(today, field.name)
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return bool(value == recorded)
    if not field.is_repeated:
        return today.HasField(field.name) and contains(value, recorded)
    return len(value) == len(recorded) and all(map(contains, value, recorded))
