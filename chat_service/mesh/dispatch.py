"""What other servers say, brought to the roles here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Final

from chat_service.errors import NotYetServed
from chat_service.home.home import Attachment, Home
from chat_service.mesh.link import Link
from chat_service.model.answer import Answer
from chat_service.owner.owner import Owner
from chat_service.stream.edge import Edge
from chat_service.stream.sessions import Sessions
from chat_service.wire import mesh
from parley.internal.v1.mesh_pb2 import Attached, MeshFrame, Received, Reloaded, SignedOut
from servicekit.failure import Failure
from servicekit.status import from_proto
from servicekit.telemetry import span

NO_SPAN: Final = nullcontext()


class Dispatch:
    """One method a kind of frame; none of them waits."""

    def __init__(
        self, edge: Edge, sessions: Sessions, home: Home, owner: Owner, stranger: Callable[[str], None]
    ) -> None:
        self._edge = edge
        self._sessions = sessions
        self._home = home
        self._owner = owner
        # Told of users for whom something came, and who are not attached here.
        self._stranger = stranger

    def take(self, peer: str, frame: MeshFrame, link: Link) -> None:
        """A frame of `peer` that asks or publishes. Kinds this server does not know are passed over."""
        kind = frame.WhichOneof("body")
        if kind is not None and (serve := getattr(self, f"_{kind}", None)) is not None:
            carrier = {"traceparent": frame.traceparent} if frame.traceparent else None
            with span(f"mesh {kind}", carrier) if carrier else NO_SPAN:
                serve(peer, frame, link)

    def _append(self, _: str, frame: MeshFrame, link: Link) -> None:
        reply = partial(_answer_append, link, frame.frame_id)
        try:
            draft, lane = mesh.read_append(frame)
        except ValueError:
            reply(NotYetServed("this server is older, and does not know such a change"))
        else:
            self._owner.append(draft, lane, reply)

    def _create(self, _: str, frame: MeshFrame, link: Link) -> None:
        number = frame.frame_id
        self._owner.create(mesh.read_create(frame.create), lambda answer: link.answer(number, mesh.created(answer)))

    def _receive(self, _: str, frame: MeshFrame, link: Link) -> None:
        number = frame.frame_id

        def kept(failure: Failure | None) -> None:
            link.answer(number, mesh.refused(failure) if failure else MeshFrame(received=Received()))

        self._owner.receive(mesh.read_receive(frame.receive), kept)

    def _typing(self, _: str, frame: MeshFrame, __: Link) -> None:
        self._owner.type(frame.typing.user_id, frame.typing.conversation_id, frame.typing.typing)

    def _reload(self, _: str, frame: MeshFrame, link: Link) -> None:
        number = frame.frame_id

        def reply(answer: Answer) -> None:
            refused = mesh.refused(answer) if isinstance(answer, Failure) else None
            link.answer(number, refused or MeshFrame(reloaded=Reloaded()))

        self._owner.reload(frame.reload.conversation_id, reply)

    def _attach(self, peer: str, frame: MeshFrame, link: Link) -> None:
        body = frame.attach
        self._home.attach(Attachment(body.session_id, body.user_id, body.device_id, peer), body.again)
        link.answer(frame.frame_id, MeshFrame(attached=Attached()))

    def _detach(self, _: str, frame: MeshFrame, __: Link) -> None:
        self._home.detach(frame.detach.user_id, frame.detach.session_id)

    def _find(self, _: str, frame: MeshFrame, link: Link) -> None:
        link.answer(frame.frame_id, mesh.found(self._home.find(frame.find.user_id, frame.find.device_id)))

    def _watch(self, peer: str, frame: MeshFrame, link: Link) -> None:
        online = self._home.presence.watch(peer, frame.watch.session_id, list(frame.watch.user_ids))
        link.answer(frame.frame_id, mesh.watched(online))

    def _recheck_user(self, _: str, frame: MeshFrame, __: Link) -> None:
        self._home.recheck_user(frame.recheck_user.user_id)

    def _tell(self, _: str, frame: MeshFrame, link: Link) -> None:
        number = frame.frame_id

        def reply(answer: bytes | Failure) -> None:
            link.answer(number, mesh.refused(answer) if isinstance(answer, Failure) else mesh.told(answer))

        self._edge.hear_for(frame.tell.session_id, frame.tell.frame, reply)

    def _deliver(self, _: str, frame: MeshFrame, __: Link) -> None:
        users = list(frame.deliver.user_ids)
        self._home.deliver(users, mesh.read_delivery(frame.deliver.delivery, frame.traceparent))
        for user_id in users:
            if not self._home.knows(user_id):
                self._stranger(user_id)

    def _push(self, _: str, frame: MeshFrame, __: Link) -> None:
        self._sessions.push(list(frame.push.session_ids), mesh.read_delivery(frame.push.delivery, frame.traceparent))

    def _close_session(self, _: str, frame: MeshFrame, __: Link) -> None:
        self._sessions.close(frame.close_session.session_id, from_proto(frame.close_session.status))

    def _recheck(self, _: str, frame: MeshFrame, __: Link) -> None:
        self._sessions.recheck(list(frame.recheck.session_ids))

    def _missed(self, _: str, __: MeshFrame, ___: Link) -> None:
        self._home.recheck()
        self._sessions.recheck()

    def _sign_out(self, _: str, frame: MeshFrame, link: Link) -> None:
        body = frame.sign_out
        self._home.sign_out(body.user_id, body.device_id, from_proto(body.status))
        link.answer(frame.frame_id, MeshFrame(signed_out=SignedOut()))


def _answer_append(link: Link, number: int, answer: Answer) -> None:
    link.answer(number, mesh.append_result(answer))
