"""The validation rules of the contract refuse values out of bounds and name the field."""

import protovalidate
import pytest
from google.protobuf.message import Message

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2

ID = "0123456789abcdef" * 2
UUID = "01933333-3333-7333-8333-333333333333"
TEXT = entry_pb2.Content(text=entry_pb2.Text(body="hello"))
validator = protovalidate.Validator()


def send(**changes: object) -> chat_pb2.SendMessageRequest:
    request = chat_pb2.SendMessageRequest(client_message_id=UUID, conversation_id=ID, content=TEXT)
    for name, value in changes.items():
        if isinstance(value, Message):
            getattr(request, name).CopyFrom(value)
        else:
            setattr(request, name, value)
    return request


GOOD: list[Message] = [
    chat_pb2.ConnectRequest(hello=chat_pb2.Hello()),
    chat_pb2.ConnectRequest(send_message=send()),
    conversation_pb2.CreateGroupRequest(request_id=UUID, title="a", member_ids=[ID]),
    conversation_pb2.CreateGroupRequest(request_id=UUID, title="a", member_ids=[f"{n:032x}" for n in range(99)]),
    account_pb2.RegisterRequest(login_name="Alice", password="long enough"),
    account_pb2.GetProfileRequest(),
]

BAD: list[tuple[Message, str]] = [
    (chat_pb2.ConnectRequest(), "frame"),
    (send(conversation_id="not an id"), "conversation_id"),
    (send(client_message_id="1"), "client_message_id"),
    (send(content=entry_pb2.Content()), "content.body"),
    (send(content=entry_pb2.Content(text=entry_pb2.Text())), "content.text.body"),
    (chat_pb2.Fetch(), "ranges"),
    (chat_pb2.EntryRange(conversation_id=ID, after_seq=-1), "after_seq"),
    (chat_pb2.EntryRange(conversation_id=ID, limit=501), "limit"),
    (
        conversation_pb2.CreateGroupRequest(request_id=UUID, title="a", member_ids=[f"{n:032x}" for n in range(100)]),
        "member_ids",
    ),
    (conversation_pb2.CreateGroupRequest(request_id=UUID, title="a", member_ids=[ID, ID]), "member_ids"),
    (account_pb2.RegisterRequest(login_name="al", password="long enough"), "login_name"),
    (account_pb2.RegisterRequest(login_name="alice", password="short"), "password"),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda message: message.DESCRIPTOR.name)
def test_message_within_bounds_is_accepted(message: Message) -> None:
    validator.validate(message)


@pytest.mark.parametrize(("message", "field"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_message_out_of_bounds_is_refused_and_names_the_field(message: Message, field: str) -> None:
    paths = [
        ".".join(element.field_name for element in violation.proto.field.elements)
        for violation in validator.collect_violations(message)
        if violation.proto.field is not None
    ]
    assert field in paths
