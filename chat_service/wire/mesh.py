"""The frames between chat servers, in the domain's words and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from chat_service.model.delivery import AttachedSession, DeliveredEntry, Delivery, PresenceChange
from chat_service.model.entry import Draft, Message
from chat_service.model.ids import uuid7_time_ms
from chat_service.model.requests import Appended, AppendOutcome, Attempt, Creation, DoneOutcome, Receipt, Unchanged
from chat_service.wire import changes
from chat_service.wire.entries import to_timestamp
from parley.internal.v1.mesh_pb2 import (
    Append,
    AppendResult,
    Attach,
    CloseSession,
    Create,
    Created,
    Deliver,
    Detach,
    Find,
    Found,
    MeshFrame,
    Push,
    Receive,
    Recheck,
    RecheckUser,
    Reload,
    SignOut,
    Tell,
    Told,
    Typing,
    Watch,
    Watched,
)
from parley.internal.v1.mesh_pb2 import (
    DeliveredEntry as WireEntry,
)
from parley.internal.v1.mesh_pb2 import (
    Delivery as WireDelivery,
)
from parley.internal.v1.mesh_pb2 import (
    PresenceMoved as WireMoved,
)
from servicekit.failure import Failure
from servicekit.status import from_proto, to_proto


def encode_append(draft: Draft, attempt: Attempt | None) -> MeshFrame:
    """To an owner: append an entry."""
    said = Append(user_id=draft.actor_id, conversation_id=draft.conversation_id, client_message_id=draft.request_id)
    if isinstance(draft.change, Message):
        said.content = draft.change.content
    else:
        said.change = changes.encode_change(draft.change)
        said.not_asked_user_ids.extend(sorted(draft.consent_exempt))
    if attempt is not None:
        said.session_id, said.attempt = attempt.session_id, attempt.number
    return MeshFrame(append=said)


def decode_append(frame: MeshFrame) -> tuple[Draft, Attempt | None]:
    """What an edge wants appended."""
    body = frame.append
    draft = Draft(
        conversation_id=body.conversation_id,
        actor_id=body.user_id,
        request_id=body.client_message_id,
        change=changes.decode_change(body.change) if body.change else Message(body.content),
        made_ms=uuid7_time_ms(UUID(bytes=body.client_message_id)) or 0,
        traceparent=frame.traceparent,
        consent_exempt=frozenset(body.not_asked_user_ids),
    )
    return draft, Attempt(body.session_id, body.attempt) if body.session_id else None


def encode_append_result(answer: AppendOutcome) -> MeshFrame:
    """To an edge: what became of an append."""
    if isinstance(answer, Failure):
        return MeshFrame(append_result=AppendResult(refused=to_proto(answer)))
    seq = answer.seq if isinstance(answer, Appended) else 0
    return MeshFrame(append_result=AppendResult(seq=seq, create_time=to_timestamp(answer.time_ms)))


def decode_append_result(body: AppendResult) -> AppendOutcome:
    """What became of an append."""
    if body.HasField("refused"):
        return from_proto(body.refused)
    time_ms = body.create_time.ToMilliseconds()
    return Appended(body.seq, time_ms) if body.seq else Unchanged(time_ms)


def encode_attach(attachment: AttachedSession, again: bool) -> MeshFrame:
    """To a home: a device has a stream here."""
    return MeshFrame(
        attach=Attach(
            session_id=attachment.session_id,
            user_id=attachment.user_id,
            device_id=attachment.device_id,
            again=again,
        )
    )


def encode_detach(user_id: str, session_id: str) -> MeshFrame:
    """To a home: a stream is gone."""
    return MeshFrame(detach=Detach(session_id=session_id, user_id=user_id))


def encode_deliver(user_ids: Iterable[str], delivery: WireDelivery) -> MeshFrame:
    """To a home: for users there."""
    return MeshFrame(deliver=Deliver(user_ids=user_ids, delivery=delivery))


def encode_push(session_ids: Sequence[str], delivery: WireDelivery) -> MeshFrame:
    """To an edge: for streams there."""
    return MeshFrame(push=Push(session_ids=session_ids, delivery=delivery))


def encode_delivery(domain: Delivery) -> WireDelivery:
    """A delivery on the wire."""
    return WireDelivery(
        entries=[
            WireEntry(entry=each.entry, actor_id=each.actor_id, client_message_id=each.request_id)
            for each in domain.entries
        ],
        watermarks=domain.watermarks,
        typing=domain.typing,
        presence=_moved(domain.presence) if domain.presence else None,
    )


def _moved(presence: PresenceChange) -> WireMoved:
    return WireMoved(user_id=presence.user_id, online=presence.online)


def decode_delivery(body: WireDelivery, traceparent: str) -> Delivery:
    """A delivery off the wire."""
    return Delivery(
        entries=tuple(DeliveredEntry(each.entry, each.actor_id, each.client_message_id) for each in body.entries),
        watermarks=tuple(body.watermarks),
        typing=body.typing,
        presence=PresenceChange(body.presence.user_id, body.presence.online) if body.HasField("presence") else None,
        traceparent=traceparent,
    )


def encode_close_session(session_id: str, failure: Failure) -> MeshFrame:
    """To an edge: end a stream."""
    return MeshFrame(close_session=CloseSession(session_id=session_id, status=to_proto(failure)))


def encode_recheck(session_ids: Sequence[str]) -> MeshFrame:
    """To an edge: streams there may have missed something."""
    return MeshFrame(recheck=Recheck(session_ids=session_ids))


def encode_receipt(receipt: Receipt) -> MeshFrame:
    """To an owner: a device of a member has got so far."""
    return MeshFrame(
        receive=Receive(
            user_id=receipt.user_id,
            device_id=receipt.device_id,
            conversation_id=receipt.conversation_id,
            delivered_seq=receipt.delivered_seq,
            read_seq=receipt.read_seq,
        )
    )


def decode_receipt(body: Receive) -> Receipt:
    """How far a device has got."""
    return Receipt(body.user_id, body.device_id, body.conversation_id, body.delivered_seq, body.read_seq)


def encode_typing(user_id: str, conversation_id: str, types: bool) -> MeshFrame:
    """To an owner: somebody types, or stopped."""
    return MeshFrame(typing=Typing(user_id=user_id, conversation_id=conversation_id, typing=types))


def encode_reload(conversation_id: str) -> MeshFrame:
    """To an owner: what stands beside the log is another."""
    return MeshFrame(reload=Reload(conversation_id=conversation_id))


def encode_recheck_user(user_id: str) -> MeshFrame:
    """To a home: the user's streams look again."""
    return MeshFrame(recheck_user=RecheckUser(user_id=user_id))


def encode_find(user_id: str, device_id: str) -> MeshFrame:
    """To a home: where is the stream of a device."""
    return MeshFrame(find=Find(user_id=user_id, device_id=device_id))


def encode_found(attachment: AttachedSession | None) -> MeshFrame:
    """To the one who asked: there it is."""
    if attachment is None:
        return MeshFrame(found=Found())
    return MeshFrame(found=Found(edge=attachment.edge, session_id=attachment.session_id))


def encode_tell(session_id: str, frame: bytes) -> MeshFrame:
    """To an edge: what a unary call says to a stream."""
    return MeshFrame(tell=Tell(session_id=session_id, frame=frame))


def encode_told(response: bytes) -> MeshFrame:
    """To the one who asked: what the stream answers."""
    return MeshFrame(told=Told(response=response))


def encode_watch(session_id: str, user_ids: Iterable[str]) -> MeshFrame:
    """To a home: whose presence a stream is told."""
    return MeshFrame(watch=Watch(session_id=session_id, user_ids=user_ids))


def encode_watched(online: Iterable[str]) -> MeshFrame:
    """To an edge: who of them is online."""
    return MeshFrame(watched=Watched(online_user_ids=online))


def encode_sign_out(user_id: str, device_id: str, failure: Failure) -> MeshFrame:
    """To a home: a device was signed out."""
    return MeshFrame(sign_out=SignOut(user_id=user_id, device_id=device_id, status=to_proto(failure)))


def encode_refused(failure: Failure) -> MeshFrame:
    """To the one who asked: why not."""
    return MeshFrame(refused=to_proto(failure))


def encode_create(creation: Creation) -> MeshFrame:
    """To an owner: make a conversation, once."""
    return MeshFrame(
        create=Create(
            conversation_id=creation.conversation_id,
            user_id=creation.creator_id,
            request_id=creation.request_id,
            group=bool(creation.title),
            title=creation.title,
            member_ids=creation.member_ids,
        )
    )


def decode_create(body: Create) -> Creation:
    """The conversation to make."""
    return Creation(body.conversation_id, body.user_id, body.request_id, tuple(body.member_ids), body.title)


def encode_created(answer: DoneOutcome) -> MeshFrame:
    """To the one who asked: the conversation is there, or why not."""
    return encode_refused(answer) if isinstance(answer, Failure) else MeshFrame(created=Created())
