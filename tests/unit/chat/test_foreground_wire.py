"""The answer of a home about a user in the foreground comes over the mesh, and to other services, as it was."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict

from chat_service.model.delivery import Foreground, UnpushedEntry
from chat_service.wire import mesh
from chat_service.wire.directory import encode_foreground
from parley.internal.v1.mesh_pb2 import MeshFrame

PHONE, GROUP = "d" * 32, "9" * 32
ENTRY = UnpushedEntry(GROUP, 5, 1_800_000_000_123)


@pytest.mark.parametrize("foreground", [Foreground(), Foreground((PHONE,)), Foreground((), ENTRY)])
def test_foreground_comes_over_the_mesh_as_it_was(foreground: Foreground) -> None:
    frame = MeshFrame.FromString(mesh.encode_foreground(foreground).SerializeToString())
    assert mesh.decode_foreground(frame.foreground) == foreground


def test_foreground_is_told_to_other_services() -> None:
    told = MessageToDict(encode_foreground(Foreground((PHONE,), ENTRY)), preserving_proto_field_name=True)
    entry = {"conversation_id": GROUP, "seq": "5", "deliver_time": "2027-01-15T08:00:00.123Z"}
    assert told == {"device_ids": [PHONE], "last_entry": entry}
    assert not MessageToDict(encode_foreground(Foreground()))
