"""The dispatch of frames of other servers to the roles of this one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from chat_service.home.home import Home
from chat_service.mesh.peer_stream import PeerStream
from chat_service.model.requests import AppendOutcome, DoneOutcome
from chat_service.owner.owner import Owner
from chat_service.stream.edge import Edge
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import Attached, MeshFrame, Received, Reloaded, SignedOut
from servicekit.clock import Clock
from servicekit.errors import NotYetServed
from servicekit.failure import Failure
from servicekit.log_context import Handling
from servicekit.status import from_proto

RECHECK_DELAY_S: Final = 0.2


class FrameDispatcher:
    """Calls the role that a frame of another server is for: one method per kind of frame, and none of them waits.

    `on_misrouted` is called with each user who was sent a delivery and is not attached to this home.
    """

    def __init__(
        self, edge: Edge, sessions: SessionRegistry, home: Home, owner: Owner, on_misrouted: Callable[[str], None]
    ) -> None:
        self._edge = edge
        self._sessions = sessions
        self._home = home
        self._owner = owner
        self._on_misrouted = on_misrouted

    def dispatch(self, peer: str, frame: MeshFrame, stream: PeerStream) -> None:
        """Handle a request or a publication of `peer`; frames of an unknown kind are ignored."""
        kind = frame.WhichOneof("body")
        if kind is not None and (handle := getattr(self, f"_{kind}", None)) is not None:
            with Handling(frame):
                handle(peer, frame, stream)

    def _append(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        reply = partial(_respond_append, stream, frame.frame_id)
        try:
            draft, lane = mesh.decode_append(frame)
        except ValueError:
            reply(NotYetServed("this server's version does not support this change"))
        else:
            self._owner.append_draft(draft, lane, reply)

    def _create(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        frame_id = frame.frame_id
        self._owner.create_conversation(
            mesh.decode_create(frame.create), lambda outcome: stream.respond(frame_id, mesh.encode_created(outcome))
        )

    def _receive(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        frame_id = frame.frame_id

        def reply(outcome: DoneOutcome) -> None:
            refused = mesh.encode_refused(outcome) if isinstance(outcome, Failure) else None
            stream.respond(frame_id, refused or MeshFrame(received=Received()))

        self._owner.receive_receipt(mesh.decode_receipt(frame.receive), reply)

    def _typing(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        self._owner.publish_typing(frame.typing.user_id, frame.typing.conversation_id, frame.typing.typing)

    def _reload(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        frame_id = frame.frame_id

        def reply(outcome: DoneOutcome) -> None:
            refused = mesh.encode_refused(outcome) if isinstance(outcome, Failure) else None
            stream.respond(frame_id, refused or MeshFrame(reloaded=Reloaded()))

        self._owner.invalidate_conversation(frame.reload.conversation_id, reply)

    def _attach(self, peer: str, frame: MeshFrame, stream: PeerStream) -> None:
        body = frame.attach
        self._home.attach(mesh.decode_attach(body, peer), body.again)
        stream.respond(frame.frame_id, MeshFrame(attached=Attached()))

    def _detach(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        self._home.detach(frame.detach.user_id, frame.detach.session_id)

    def _activity(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        body = frame.activity
        self._home.set_activity(body.user_id, body.session_id, foreground=not body.background, silent=body.silent)

    def _find(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        stream.respond(
            frame.frame_id, mesh.encode_found(self._home.find_session(frame.find.user_id, frame.find.device_id))
        )

    def _describe_foreground(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        foreground = self._home.describe_foreground(frame.describe_foreground.user_id)
        stream.respond(frame.frame_id, mesh.encode_foreground(foreground))

    def _recheck_user(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        self._home.recheck_user(frame.recheck_user.user_id)

    def _tell(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        frame_id = frame.frame_id

        def reply(response: bytes | Failure) -> None:
            body = mesh.encode_refused(response) if isinstance(response, Failure) else mesh.encode_told(response)
            stream.respond(frame_id, body)

        self._edge.handle_unary_frame_for_peer(frame.tell.session_id, frame.tell.frame, reply)

    def _deliver(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        user_ids = list(frame.deliver.user_ids)
        self._home.deliver(user_ids, mesh.decode_delivery(frame.deliver.delivery))
        for user_id in user_ids:
            if not self._home.has_user(user_id):
                self._on_misrouted(user_id)

    def _push(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        self._sessions.deliver(list(frame.push.session_ids), mesh.decode_delivery(frame.push.delivery))

    def _close_session(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        self._sessions.close_session(frame.close_session.session_id, from_proto(frame.close_session.status))

    def _recheck(self, _: str, frame: MeshFrame, __: PeerStream) -> None:
        self._sessions.recheck(list(frame.recheck.session_ids))

    def _missed(self, _: str, __: MeshFrame, ___: PeerStream) -> None:
        self._home.recheck_all()
        self._sessions.recheck()

    def _sign_out(self, _: str, frame: MeshFrame, stream: PeerStream) -> None:
        body = frame.sign_out
        self._home.close_device_sessions(body.user_id, body.device_id, from_proto(body.status))
        stream.respond(frame.frame_id, MeshFrame(signed_out=SignedOut()))


def _respond_append(stream: PeerStream, frame_id: int, outcome: AppendOutcome) -> None:
    stream.respond(frame_id, mesh.encode_append_result(outcome))


class MisroutedDeliveries:
    """Rechecks the users whose deliveries were sent to this home by an old ring.

    Deliveries are collected for RECHECK_DELAY_S and each user is rechecked once, because a sender with an old ring may
    send many.
    """

    def __init__(self, has_moved: Callable[[str], bool], recheck: Callable[[str], None], clock: Clock) -> None:
        self._has_moved = has_moved
        self._recheck = recheck
        self._clock = clock
        self._users: set[str] = set()

    def record(self, user_id: str) -> None:
        """Record a delivery for a user who is not attached here, though this is the home by the ring of its sender."""
        if not self._users:
            self._clock.call_later(RECHECK_DELAY_S, self._recheck_moved)
        self._users.add(user_id)

    def _recheck_moved(self) -> None:
        user_ids, self._users = self._users, set()
        for user_id in user_ids:
            if self._has_moved(user_id):
                self._recheck(user_id)
