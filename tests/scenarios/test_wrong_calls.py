"""Invalid calls on conversations and history, and the reasons of their refusals."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from tests.raw.device import id_at, new_id
from tests.scenarios.conftest import Scene

pytestmark = pytest.mark.scenario

INVALID = "INVALID_ARGUMENT"
NOT_FOUND = ("NOT_FOUND", "CONVERSATION_NOT_FOUND")
FAR = 2**63 - 1


def strangers(count: int) -> list[str]:
    return [uuid.uuid4().hex for _ in range(count)]


def group(members: list[str], title: str = "Lunch", request_id: str = "") -> conversation_pb2.CreateGroupRequest:
    return conversation_pb2.CreateGroupRequest(request_id=request_id or new_id(), title=title, member_ids=members)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (group(strangers(100)), "member_ids"),
        (group([]), "member_ids"),
        (group(["a" * 32] * 2), "member_ids"),
        (group(["a" * 31]), "member_ids[0]"),
        (group(strangers(1), title=""), "title"),
        (group(strangers(1), title="x" * 129), "title"),
        (group(strangers(1), title="\u3164"), "title"),
        (group(strangers(1), title="gpj.\u202eexe"), "title"),
        (account_pb2.UpdateProfileRequest(display_name="\u200b"), "display_name"),
        (group(strangers(1), request_id="x"), "request_id"),
        (conversation_pb2.GetOrCreateDirectRequest(peer_id="bob"), "peer_id"),
        (conversation_pb2.GetConversationRequest(conversation_id="x"), "conversation_id"),
        (conversation_pb2.ListConversationsRequest(page_size=101), "page_size"),
        (conversation_pb2.ListConversationsRequest(page_size=-1), "page_size"),
        (conversation_pb2.ListConversationsRequest(page_token="x" * 257), "page_token"),
        (chat_pb2.ListMessagesRequest(conversation_id="a" * 32, page_size=201), "page_size"),
        (chat_pb2.ListMessagesRequest(conversation_id="a" * 32, before_seq=-1), "before_seq"),
        (chat_pb2.ListMessagesRequest(conversation_id="a" * 32, before_seq=3, after_seq=1), "after_seq"),
    ],
    ids=lambda value: value.DESCRIPTOR.name if isinstance(value, Message) else value,
)
async def test_request_violating_contract_rules_is_refused(scene: Scene, request_: Message, field: str) -> None:
    refusal = await scene.alice.refusal(request_)
    assert (refusal.code_and_reason, refusal.fields) == ((INVALID, "FIELD_INVALID"), (field,))


async def test_group_with_unknown_member_is_refused(scene: Scene) -> None:
    refusal = await scene.alice.refusal(group([scene.bob.user_id, *strangers(1)]))
    assert refusal.code_and_reason == ("NOT_FOUND", "USER_NOT_FOUND")
    assert (await scene.alice.refusal(group(strangers(99)))).code_and_reason == ("NOT_FOUND", "USER_NOT_FOUND")
    refusal = await scene.alice.refusal(conversation_pb2.GetOrCreateDirectRequest(peer_id=uuid.uuid4().hex))
    assert refusal.code_and_reason == ("NOT_FOUND", "USER_NOT_FOUND")


async def test_direct_conversation_with_oneself_is_refused(scene: Scene) -> None:
    refusal = await scene.alice.refusal(conversation_pb2.GetOrCreateDirectRequest(peer_id=scene.alice.user_id))
    assert refusal.code_and_reason == (INVALID, "PEER_IS_SELF")


async def test_group_of_oneself_is_refused(scene: Scene) -> None:
    refusal = await scene.alice.refusal(group([scene.alice.user_id]))
    assert (refusal.code_and_reason, refusal.fields) == ((INVALID, "FIELD_INVALID"), ("member_ids",))


async def test_title_is_stored_without_surplus_space(scene: Scene) -> None:
    made = (await scene.alice.call(group([scene.bob.user_id], title=" Friday\u00a0 evening "))).conversation
    assert made.title == "Friday evening"


async def test_creator_named_as_member_is_in_group_once(scene: Scene) -> None:
    made = (await scene.alice.call(group([scene.alice.user_id, scene.bob.user_id]))).conversation
    assert sorted(each.user_id for each in made.members) == sorted([scene.alice.user_id, scene.bob.user_id])


@pytest.mark.parametrize(
    ("request_id", "reason"),
    [(str(uuid.uuid4()), "MESSAGE_ID_INVALID"), (id_at(0), "MESSAGE_ID_EXPIRED")],
    ids=["no UUIDv7", "of 1970"],
)
async def test_create_request_with_invalid_request_id_is_refused(scene: Scene, request_id: str, reason: str) -> None:
    refusal = await scene.alice.refusal(group([scene.bob.user_id], request_id=request_id))
    assert refusal.code_and_reason == (INVALID, reason)


async def test_repeated_request_makes_one_group_and_reused_id_is_refused(scene: Scene) -> None:
    first = group([scene.bob.user_id])
    made = (await scene.alice.call(first)).conversation
    assert (await scene.alice.call(first)).conversation == made
    for other in (group([scene.bob.user_id], "Dinner"), group([(await scene.world.user()).user_id])):
        other.request_id = first.request_id
        assert (await scene.alice.refusal(other)).code_and_reason == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    shown = conversation_pb2.GetConversationRequest(conversation_id=made.conversation_id)
    assert (await scene.alice.call(shown)).conversation == made


async def test_foreign_conversation_is_not_found(scene: Scene) -> None:
    secret = await scene.bob.direct(await scene.world.user("mallory"))
    for conversation_id in (secret, uuid.uuid4().hex):
        for request in (
            conversation_pb2.GetConversationRequest(conversation_id=conversation_id),
            chat_pb2.ListMessagesRequest(conversation_id=conversation_id),
            chat_pb2.ListMessagesRequest(conversation_id=conversation_id, after_seq=1),
        ):
            assert (await scene.alice.refusal(request)).code_and_reason == NOT_FOUND


def token(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


FORGED = [
    "x",
    "!!!",
    "é",
    token("somebody:else"),
    token("conversation:"),
    token("conversation:zz"),
    token("conversation:" + "a" * 31),
    token("conversation:" + "a" * 64),
    token("before:x"),
    token("before:²"),
    token("before:-1"),
    token("before:" + "9" * 30),
    token("after:1"),
    token(f"changes:0:1:{'9' * 19}:{'a' * 32}"),
    token(f"changes:0:-:1:{'a' * 32}"),
    urlsafe_b64encode(b"before:\xff").decode(),
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
async def test_forged_page_token_is_refused(scene: Scene, forged: str) -> None:
    for request in (
        conversation_pb2.ListConversationsRequest(page_token=forged),
        chat_pb2.ListMessagesRequest(conversation_id=scene.conversation, page_token=forged),
        chat_pb2.ListChangesRequest(page_token=forged),
    ):
        assert (await scene.alice.refusal(request)).code_and_reason == (INVALID, "PAGE_TOKEN_INVALID")


async def test_forged_page_token_of_user_search_is_refused(scene: Scene) -> None:
    for forged in FORGED:
        request = account_pb2.SearchUsersRequest(query="a", page_token=forged)
        assert (await scene.alice.refusal(request)).code_and_reason == (INVALID, "PAGE_TOKEN_INVALID")


async def test_history_outside_log_is_empty(scene: Scene) -> None:
    for before_seq, after_seq in ((1, 0), (FAR, 0), (0, 1), (0, FAR)):
        request = chat_pb2.ListMessagesRequest(
            conversation_id=scene.conversation, before_seq=before_seq, after_seq=after_seq
        )
        assert not (await scene.alice.call(request)).messages


async def test_undecodable_request_is_refused(scene: Scene) -> None:
    for address in (scene.world.stack.door, scene.edge):
        call: Any = scene.world.channel(address).unary_unary("/parley.chat.v1.ChatService/ListMessages")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"\x0a\xff", metadata=scene.alice.metadata, timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
