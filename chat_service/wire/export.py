"""The files of an account's archive: JSON documents, or one JSON object a line, with the names of the protos."""

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
from chat_service.wire.entries import entry_to_proto
from parley.media.v1.media_pb2 import Media

README: Final = """\
This archive holds the data Parley keeps about you, as of {time}.

media.jsonl                 the files that you uploaded, one a line: name, size, time and so on, without their bytes
profile.json                your profile and your privacy settings
devices.json                the devices that are signed in
blocks.json                 the ids of the users you block
presence.json               who may see whether you are online, and when you last were
notifications.json          your notification preferences, the devices that get pushes, and the last decisions
conversations.jsonl         your conversations, one a line, with your settings and the names of the members
conversations/<id>.jsonl    the entries of a conversation that you may see, one a line, in order

All files are JSON in UTF-8, with the names of the Parley API (parley.chat.v1, parley.media.v1): an entry is an Entry,
a conversation a Conversation, an uploaded file a Media. A .jsonl file has one JSON object a line. Messages are in
their present state: an edited message has its latest content, and a deleted message has none. Messages you deleted for
yourself are left out. Pictures and files are not included; their ids are, by which an app downloads them.
"""


def encode_profile(profile: Profile, privacy: Privacy) -> bytes:
    """Return the document of a profile and its privacy settings."""
    # A setting that is off is said to be off.
    settings = MessageToDict(
        privacy_to_proto(privacy), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _document({"profile": _to_json(profile_to_proto(profile)), "privacy": settings})


def encode_devices(devices: Iterable[Device], calling_device_id: str) -> bytes:
    """Return the document of an account's devices."""
    return _document([_to_json(device_to_proto(device, calling_device_id)) for device in devices])


def encode_id_page(ids: Iterable[str], *, first: bool) -> bytes:
    """Return the next ids of a JSON array. The `first` page opens the array; the caller appends the closing "]"."""
    text = ",\n".join(json.dumps(user_id) for user_id in ids)
    return (("[\n" if first else ",\n") + text if text else "[" if first else "").encode()


def encode_conversation(summary: ConversationSummary, profiles: Mapping[str, Profile], viewer: str) -> bytes:
    """Return the line of a conversation, with the display names of its members."""
    proto = conversations.encode_conversation(summary, viewer)
    proto.ClearField("head")
    names = {user_id: profile.display_name for user_id, profile in profiles.items()}
    return _line({"conversation": _to_json(proto), "names": names})


def encode_entries(entries: Iterable[Entry], viewer: str) -> bytes:
    """Return a line for each entry."""
    return b"".join(_line(_to_json(entry_to_proto(entry, viewer))) for entry in entries)


def encode_media(files: Iterable[Media]) -> bytes:
    """Return a line for each file."""
    return b"".join(_line(_to_json(file)) for file in files)


def _to_json(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return fields


def _document(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
