"""The answers of the directory on the wire."""

from __future__ import annotations

from chat_service.directory.relations import Relation
from chat_service.model.conversation import Interval
from chat_service.model.entry import LAST_SEQ
from parley.internal.v1 import directory_pb2


def encode_interval(interval: Interval) -> directory_pb2.SeqInterval:
    """Return an interval of a log; the last one of a present member is open."""
    return directory_pb2.SeqInterval(
        first_seq=interval.first, last_seq=interval.last if interval.last < LAST_SEQ else 0
    )


def encode_relation(relation: Relation) -> directory_pb2.Relation:
    """Return the relation of a user to another user."""
    return directory_pb2.Relation(
        other_user_id=relation.other_id,
        acquainted=relation.acquainted,
        acquainted_by=relation.acquainted_by,
        blocks=relation.blocks,
        blocked_by=relation.blocked_by,
    )
