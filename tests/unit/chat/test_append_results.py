"""The result of an append in the frames between servers and to clients."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chat_service.errors import GroupFull
from chat_service.model.requests import Appended, Unchanged
from chat_service.wire import frames, mesh
from parley.chat.v1 import chat_pb2
from parley.internal.v1.mesh_pb2 import AppendResult

TIME = Timestamp(seconds=1, nanos=500_000_000)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Appended(7, 1500), AppendResult(seq=7, create_time=TIME)),
        # Earlier versions encode it so, and read it as an append at seq 0.
        (Unchanged(1500), AppendResult(create_time=TIME)),
    ],
)
def test_append_result_round_trips_between_servers(outcome: Appended | Unchanged, expected: AppendResult) -> None:
    encoded = mesh.encode_append_result(outcome).append_result
    assert encoded == expected
    assert mesh.decode_append_result(encoded) == outcome


def test_refusal_round_trips_between_servers() -> None:
    encoded = mesh.encode_append_result(GroupFull("full")).append_result
    decoded = mesh.decode_append_result(encoded)
    assert not isinstance(decoded, Appended | Unchanged)
    assert decoded.reason == GroupFull.default_reason


def test_unchanged_conversation_is_seq_0_for_clients() -> None:
    assert frames.encode_appended(Unchanged(1500)) == chat_pb2.Appended(create_time=TIME)
