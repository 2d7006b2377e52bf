"""One rule for every name that users show to each other: something is visible, and nothing changes the text around."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from chat_service.model.names import normalize_name, sanitize_name
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from parley.common.v1 import name_pb2
from parley.media.v1 import media_pb2
from servicekit import validation
from servicekit.failure import Failure

ID = "0123456789abcdef" * 2
UUID = "01933333-3333-7333-8333-333333333333"


def content(**body: Message) -> chat_pb2.SendMessageRequest:
    return chat_pb2.SendMessageRequest(
        client_message_id=UUID,
        conversation_id=ID,
        content=entry_pb2.Content(**body),  # type: ignore[arg-type]
    )


def device(name: str) -> account_pb2.DeviceDescription:
    return account_pb2.DeviceDescription(name=name)


REQUESTS: dict[str, Callable[[str], Message]] = {
    "title": lambda name: conversation_pb2.CreateGroupRequest(request_id=UUID, title=name, member_ids=[ID]),
    "title of update": lambda name: conversation_pb2.UpdateConversationRequest(
        request_id=UUID, conversation_id=ID, title=name
    ),
    "display_name": lambda name: account_pb2.UpdateProfileRequest(display_name=name),
    "display_name of registration": lambda name: account_pb2.RegisterRequest(
        login_name="alice", password="long enough", display_name=name
    ),
    "device.name": lambda name: account_pb2.LoginRequest(login_name="alice", password="any", device=device(name)),
    "device.name of registration": lambda name: account_pb2.RegisterRequest(
        login_name="alice", password="long enough", device=device(name)
    ),
    "content.contact_card.display_name": lambda name: content(contact_card=entry_pb2.ContactCard(display_name=name)),
    "content.location.name": lambda name: content(location=entry_pb2.Location(name=name)),
    "file_name": lambda name: media_pb2.FileDescription(file_name=name, size_bytes=1),
}
REFUSED = [
    " ",
    "\u00a0",
    "\u3000",
    "\u200b",
    "\u3164",
    "\u115f\u1160",
    "\uffa0",
    "\u2800",
    "\u00ad",
    "\u2060\ufeff",
    "\u200d\u200d",
    "\ufe0f",
    "\u034f",
    "\u200e\u200f",
    "\u0301",
    "\U000e0041",
    "Friday\nevening",
    "Friday\x00",
    "tab\there",
    "\x1b[31mred",
    "next\x85line",
    "line\u2028separator",
    "paragraph\u2029separator",
    "gpj.\u202eexe",
    "\u202aembedded\u202c",
    "\u2066isolated\u2069",
]
ACCEPTED = [
    "Friday",
    "  Friday  evening ",
    "Zoë",
    "王小明",
    "می\u200cخواهم",
    "👩🏽\u200d❤️\u200d💋\u200d👨🏿",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "עברית\u200f (English)\u200e",
    "हिन्दी",
    "…",
    "?",
    "O’Brien",
    "\U0001faeb",
    "A" * 64,
]


def violated(message: Message) -> list[str]:
    try:
        validation.check(message)
    except Failure as failure:
        return [violation.field for violation in failure.violations]
    return []


@pytest.mark.parametrize("field", REQUESTS)
@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_name_that_shows_nothing_or_hides_something_is_refused(field: str, name: str) -> None:
    assert set(violated(REQUESTS[field](name))) == {field.partition(" ")[0]}


@pytest.mark.parametrize("field", REQUESTS)
@pytest.mark.parametrize("name", ACCEPTED, ids=ascii)
def test_name_in_any_script_is_accepted(field: str, name: str) -> None:
    assert violated(REQUESTS[field](name)) == []


def test_every_field_for_a_name_has_the_rule() -> None:
    """Requests and contents: fields of these names in other messages are written by servers, from such fields."""
    names = {"title", "name", "display_name", "file_name"}
    for module in (account_pb2, chat_pb2, conversation_pb2, entry_pb2, media_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            if message.name.endswith(("Request", "Description", "Location", "ContactCard")):
                for field in message.fields:
                    if field.type == FieldDescriptor.TYPE_STRING and field.name in names:
                        rules = [value for option, value in field.GetOptions().ListFields() if option.name == "field"]
                        assert rules, field.full_name
                        assert rules[0].string.Extensions[name_pb2.name], field.full_name


@pytest.mark.parametrize(
    ("name", "stored"),
    [("  Alice\u00a0 Smith ", "Alice Smith"), ("\u3000王　小明", "王 小明"), ("می\u200cخواهم", "می\u200cخواهم")],
)
def test_name_is_stored_with_single_spaces(name: str, stored: str) -> None:
    assert normalize_name(name) == stored


@pytest.mark.parametrize(
    ("name", "stored"),
    [("Alice\n Smith", "Alice Smith"), ("A\0b", "Ab"), ("gpj.\u202eexe", "gpj.exe"), ("\u200b", ""), ("\0", "")],
)
def test_name_of_another_issuer_is_made_to_fit(name: str, stored: str) -> None:
    assert sanitize_name(name) == stored


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=64))
def test_name_made_to_fit_is_accepted_or_empty(name: str) -> None:
    stored = sanitize_name(name)
    assert violated(REQUESTS["device.name"](stored)) == []
    if violated(REQUESTS["device.name"](name)) == []:
        assert stored == normalize_name(name)
