"""Frames between chat servers, converted from the domain's dataclasses and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from chat_service.model.delivery import AttachedSession, DeliveredEntry, Delivery, Foreground, UnpushedEntry
from chat_service.model.entry import NO_REFERENCES, Draft, Message, References
from chat_service.model.ids import uuid7_time_ms
from chat_service.model.requests import Appended, AppendOutcome, Attempt, Creation, DoneOutcome, Receipt, Unchanged
from chat_service.wire import changes
from chat_service.wire.entries import to_timestamp
from parley.internal.v1.mesh_pb2 import (
    Activity,
    Append,
    AppendResult,
    Attach,
    CloseSession,
    Create,
    Created,
    Deliver,
    DescribeForeground,
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
)
from parley.internal.v1.mesh_pb2 import (
    DeliveredEntry as WireEntry,
)
from parley.internal.v1.mesh_pb2 import (
    Delivery as WireDelivery,
)
from parley.internal.v1.mesh_pb2 import (
    Foreground as WireForeground,
)
from servicekit.failure import Failure
from servicekit.status import from_proto, to_proto


def encode_append(draft: Draft, attempt: Attempt | None) -> MeshFrame:
    """Return the frame that asks an owner to append an entry; `attempt` is None for unary calls."""
    append = Append(user_id=draft.actor_id, conversation_id=draft.conversation_id, client_message_id=draft.request_id)
    if isinstance(draft.change, Message):
        append.content = draft.change.content
    else:
        append.change = changes.encode_change(draft.change)
        append.not_asked_user_ids.extend(sorted(draft.consent_exempt))
    if draft.references is not NO_REFERENCES:
        append.reply_to_seq = draft.references.reply_to_seq
        append.mentioned_user_ids.extend(sorted(draft.references.mentioned_ids))
    if draft.fingerprint:
        append.fingerprint = draft.fingerprint
    if draft.refusal is not None:
        append.refused.CopyFrom(to_proto(draft.refusal))
    if attempt is not None:
        append.session_id, append.attempt = attempt.session_id, attempt.number
    return MeshFrame(append=append)


def decode_append(frame: MeshFrame) -> tuple[Draft, Attempt | None]:
    """Return the draft in an Append, and its attempt; None for unary calls."""
    body = frame.append
    draft = Draft(
        conversation_id=body.conversation_id,
        actor_id=body.user_id,
        request_id=body.client_message_id,
        change=changes.decode_change(body.change) if body.change else Message(body.content),
        made_ms=uuid7_time_ms(UUID(bytes=body.client_message_id)) or 0,
        traceparent=frame.traceparent,
        consent_exempt=frozenset(body.not_asked_user_ids),
        references=_decode_references(body),
        fingerprint=body.fingerprint,
        refusal=from_proto(body.refused) if body.HasField("refused") else None,
    )
    return draft, Attempt(body.session_id, body.attempt) if body.session_id else None


def _decode_references(body: Append) -> References:
    if not body.reply_to_seq and not body.mentioned_user_ids:
        return NO_REFERENCES
    return References(body.reply_to_seq, frozenset(body.mentioned_user_ids))


def encode_append_result(outcome: AppendOutcome) -> MeshFrame:
    """Return the frame that tells an edge the outcome of an append."""
    if isinstance(outcome, Failure):
        return MeshFrame(append_result=AppendResult(refused=to_proto(outcome)))
    seq = outcome.seq if isinstance(outcome, Appended) else 0
    return MeshFrame(append_result=AppendResult(seq=seq, create_time=to_timestamp(outcome.time_ms)))


def decode_append_result(body: AppendResult) -> AppendOutcome:
    """Return the outcome of an append."""
    if body.HasField("refused"):
        return from_proto(body.refused)
    time_ms = body.create_time.ToMilliseconds()
    return Appended(body.seq, time_ms) if body.seq else Unchanged(time_ms)


def encode_attach(attachment: AttachedSession, again: bool) -> MeshFrame:
    """Return the frame that registers a stream at its user's home; `again` if another home had it before."""
    return MeshFrame(
        attach=Attach(
            session_id=attachment.session_id,
            user_id=attachment.user_id,
            device_id=attachment.device_id,
            again=again,
            background=not attachment.foreground,
            instance_id=attachment.instance_id,
            stream_number=attachment.stream_number,
        )
    )


def decode_attach(body: Attach, edge: str) -> AttachedSession:
    """Return the stream in an Attach of the server `edge`."""
    return AttachedSession(
        body.session_id,
        body.user_id,
        body.device_id,
        edge,
        foreground=not body.background,
        instance_id=body.instance_id,
        stream_number=body.stream_number,
    )


def encode_activity(attachment: AttachedSession) -> MeshFrame:
    """Return the frame that tells a home that a stream has moved between foreground and background."""
    return MeshFrame(
        activity=Activity(
            session_id=attachment.session_id,
            user_id=attachment.user_id,
            background=not attachment.foreground,
            silent=attachment.silent,
        )
    )


def encode_detach(user_id: str, session_id: str) -> MeshFrame:
    """Return the frame that tells a home that a stream ended."""
    return MeshFrame(detach=Detach(session_id=session_id, user_id=user_id))


def encode_deliver(user_ids: Iterable[str], delivery: WireDelivery) -> MeshFrame:
    """Return the frame with a delivery for users of a home."""
    return MeshFrame(deliver=Deliver(user_ids=user_ids, delivery=delivery))


def encode_push(session_ids: Sequence[str], delivery: WireDelivery) -> MeshFrame:
    """Return the frame with a delivery for streams of an edge."""
    return MeshFrame(push=Push(session_ids=session_ids, delivery=delivery))


def encode_delivery(delivery: Delivery) -> WireDelivery:
    """Return a Delivery for other servers."""
    wire = WireDelivery(
        entries=[
            WireEntry(entry=entry.entry, actor_id=entry.actor_id, client_message_id=entry.request_id)
            for entry in delivery.entries
        ],
        watermarks=delivery.watermarks,
        typing=delivery.typing,
        push_only=delivery.push_only,
    )
    if delivery.traceparents:
        wire.traceparents.extend(delivery.traceparents)
    return wire


def decode_delivery(body: WireDelivery) -> Delivery:
    """Return the delivery in a Delivery of another server."""
    return Delivery(
        entries=tuple(DeliveredEntry(entry.entry, entry.actor_id, entry.client_message_id) for entry in body.entries),
        watermarks=tuple(body.watermarks),
        typing=body.typing,
        traceparents=tuple(body.traceparents),
        push_only=body.push_only,
    )


def encode_close_session(session_id: str, failure: Failure) -> MeshFrame:
    """Return the frame that asks an edge to end a stream; the device receives `failure`."""
    return MeshFrame(close_session=CloseSession(session_id=session_id, status=to_proto(failure)))


def encode_recheck(session_ids: Sequence[str]) -> MeshFrame:
    """Return the frame that asks an edge to recheck streams, which may have missed a delivery."""
    return MeshFrame(recheck=Recheck(session_ids=session_ids))


def encode_receipt(receipt: Receipt) -> MeshFrame:
    """Return the frame that tells an owner the watermarks of a member's device."""
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
    """Return the watermarks of a member's device."""
    return Receipt(body.user_id, body.device_id, body.conversation_id, body.delivered_seq, body.read_seq)


def encode_typing(user_id: str, conversation_id: str, typing: bool) -> MeshFrame:
    """Return the frame that tells an owner that a member types, or stopped."""
    return MeshFrame(typing=Typing(user_id=user_id, conversation_id=conversation_id, typing=typing))


def encode_reload(conversation_id: str) -> MeshFrame:
    """Return the frame that asks an owner to reload the state outside the log, such as blocks."""
    return MeshFrame(reload=Reload(conversation_id=conversation_id))


def encode_recheck_user(user_id: str) -> MeshFrame:
    """Return the frame that asks a home to recheck all streams of a user."""
    return MeshFrame(recheck_user=RecheckUser(user_id=user_id))


def encode_find(user_id: str, device_id: str) -> MeshFrame:
    """Return the frame that asks a home for the stream of a device."""
    return MeshFrame(find=Find(user_id=user_id, device_id=device_id))


def encode_found(attachment: AttachedSession | None) -> MeshFrame:
    """Return the answer to a Find: the stream and its edge, empty if the device has no stream."""
    if attachment is None:
        return MeshFrame(found=Found())
    return MeshFrame(found=Found(edge=attachment.edge, session_id=attachment.session_id))


def encode_describe_foreground(user_id: str) -> MeshFrame:
    """Return the frame that asks a home for the devices of a user in the foreground."""
    return MeshFrame(describe_foreground=DescribeForeground(user_id=user_id))


def encode_foreground(foreground: Foreground) -> MeshFrame:
    """Return the answer to a DescribeForeground."""
    body = WireForeground(device_ids=foreground.device_ids)
    if (entry := foreground.last_entry) is not None:
        body.conversation_id, body.seq = entry.conversation_id, entry.seq
        body.deliver_time.CopyFrom(to_timestamp(entry.time_ms))
    return MeshFrame(foreground=body)


def decode_foreground(body: WireForeground) -> Foreground:
    """Return the devices in a Foreground, and its entry."""
    entry = UnpushedEntry(body.conversation_id, body.seq, body.deliver_time.ToMilliseconds())
    return Foreground(tuple(body.device_ids), entry if body.seq else None)


def encode_tell(session_id: str, frame: bytes) -> MeshFrame:
    """Return the frame that forwards the frame of a unary call to a stream of an edge."""
    return MeshFrame(tell=Tell(session_id=session_id, frame=frame))


def encode_told(response: bytes) -> MeshFrame:
    """Return the answer to a Tell: the serialised response of the stream."""
    return MeshFrame(told=Told(response=response))


def encode_sign_out(user_id: str, device_id: str, failure: Failure) -> MeshFrame:
    """Return the frame that asks a home to end the streams of a signed-out device, which receives `failure`."""
    return MeshFrame(sign_out=SignOut(user_id=user_id, device_id=device_id, status=to_proto(failure)))


def encode_refused(failure: Failure) -> MeshFrame:
    """Return the answer that refuses a request."""
    return MeshFrame(refused=to_proto(failure))


def encode_create(creation: Creation) -> MeshFrame:
    """Return the frame that asks an owner to create a conversation. A repeat changes nothing."""
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
    """Return the creation in a Create."""
    return Creation(body.conversation_id, body.user_id, body.request_id, tuple(body.member_ids), body.title)


def encode_created(outcome: DoneOutcome) -> MeshFrame:
    """Return the answer to a Create: the conversation exists, or the failure."""
    return encode_refused(outcome) if isinstance(outcome, Failure) else MeshFrame(created=Created())
