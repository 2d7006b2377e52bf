"""An attached session survives the way between two servers."""

from __future__ import annotations

from chat_service.model.delivery import AttachedSession
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import Attach, MeshFrame


def test_attached_session_is_decoded_as_encoded() -> None:
    session = AttachedSession("1", "user", "device", "edge", foreground=False, instance_id="program", stream_number=3)
    sent = MeshFrame.FromString(mesh.encode_attach(session, again=True).SerializeToString())
    assert mesh.decode_attach(sent.attach, "edge") == session
    assert sent.attach.again


def test_session_of_an_earlier_server_has_no_order() -> None:
    session = mesh.decode_attach(Attach(session_id="1", user_id="user"), "edge")
    assert (session.instance_id, session.stream_number, session.foreground) == ("", 0, True)
