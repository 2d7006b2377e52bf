"""What an account's archive holds, as JSON in the names of the contract: one document, or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from chat_service.accounts.account import Profile
from chat_service.accounts.devices import Device
from chat_service.accounts.privacy import Privacy
from chat_service.history.history import ConversationSummary
from chat_service.model.entry import Entry
from chat_service.wire import conversations
from chat_service.wire.account import device_to_proto, privacy_to_proto, profile_to_proto
from chat_service.wire.entries import encode_for_viewer
from parley.chat.v1 import entry_pb2

README: Final = """\
This is what Parley keeps about you, as of {time}.

profile.json                what others see of you, and what you let them do
devices.json                the devices that are signed in
blocks.json                 the ids of the users you block
conversations.jsonl         your conversations, one a line, with what you set for them and the names of those in them
conversations/<id>.jsonl    what happened in a conversation, one entry a line, in order: what you may see of it

All of it is JSON in UTF-8, with the names of the Parley API (parley.chat.v1): an entry is an Entry, a conversation
a Conversation. A .jsonl file has one JSON object a line. Messages stand in their present state: what was edited
shows its last words, and what was deleted shows none. Messages you deleted for yourself are left out. Pictures and
files are not in here; their ids are.
"""


def encode_profile(found: Profile, privacy: Privacy) -> bytes:
    """The account itself."""
    return _document({"profile": _plain(profile_to_proto(found)), "privacy": _plain(privacy_to_proto(privacy))})


def encode_devices(found: Iterable[Device], calling_device_id: str) -> bytes:
    """The devices of the account."""
    return _document([_plain(device_to_proto(each, calling_device_id)) for each in found])


def encode_id_page(found: Iterable[str], *, first: bool) -> bytes:
    """The next ids of a list that `first` begins and "]" ends."""
    text = ",\n".join(json.dumps(each) for each in found)
    return (("[\n" if first else ",\n") + text if text else "[" if first else "").encode()


def encode_conversation(overview: ConversationSummary, names: Mapping[str, Profile], viewer: str) -> bytes:
    """A line about a conversation, with the names of its members."""
    proto = conversations.encode_conversation(overview, viewer)
    proto.ClearField("head")
    told = {user: found.display_name for user, found in names.items()}
    return _line({"conversation": _plain(proto), "names": told})


def encode_entries(found: Iterable[Entry], viewer: str) -> bytes:
    """A line for each entry."""
    return b"".join(_line(_plain(entry_pb2.Entry.FromString(encode_for_viewer(each, viewer)))) for each in found)


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return plain


def _document(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
