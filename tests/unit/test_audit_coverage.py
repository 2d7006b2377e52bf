"""Every call of the contract is audited or has a reason not to be, and the document lists every event."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from structlog.testing import capture_logs

from chat_service.servicers.audited import ACCOUNT_AUDIT, CONVERSATION_AUDIT
from devstack.services import SERVICES
from notify_service.servicers.admin import AUDITED as NOTIFY_ADMIN_AUDIT
from parley.internal.v1 import admin_pb2, chat_admin_pb2, notify_pb2
from presence_service.services import PRESENCE_AUDIT
from servicekit import validation
from servicekit.audit import AuditTable, CallAudit, CallOrigin
from servicekit.servicer_admin import AUDITED as ADMIN_AUDIT

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "audit.md"
PROTOS: Final = ROOT / "protos" / "parley" / "internal" / "v1"
TABLES: Final[Mapping[str, AuditTable]] = {
    "AccountService": ACCOUNT_AUDIT,
    "ConversationService": CONVERSATION_AUDIT,
    "PresenceService": PRESENCE_AUDIT,
    "AdminService": ADMIN_AUDIT,
    "NotifyAdminService": NOTIFY_ADMIN_AUDIT,
}
ADMIN_SERVICES: Final = [
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    chat_admin_pb2.DESCRIPTOR.services_by_name["ChatAdminService"],
    notify_pb2.DESCRIPTOR.services_by_name["NotifyAdminService"],
]
READS: Final = "it changes nothing"
LOGGED: Final = "the log of the conversation says who did what and when"
PERSONAL: Final = "a setting of the user's own view, which nobody else notices"
NOT_AUDITED: Final = {
    READS: (
        "GetProfile SearchUsers ListDevices ListBlocked GetPrivacy GetConversation ListConversations ListChanges "
        "ListEntries ListMessages SearchMessages ListReaders Locate ListUploadParts GetMedia GetDownloadUrl Download "
        "ListPushTokens GetPreferences ListPushDecisions GetWebPushKey GetPresence WatchPresence GetVisibility "
        "DescribeServer ListServers GetLoad LocateKey TracePushes DescribeQueue ListDeadLetters"
    ),
    LOGGED: "GetOrCreateDirect SendMessage EditMessage DeleteMessage SetReaction",
    PERSONAL: "SetMute SetPinned SetArchived SetPreferences UpdateReceipts",
    "a stream of frames: sessions are in the service log, and no frame administers anything": "Connect Subscribe",
    "it concerns the open stream of the device alone": "SetTyping Heartbeat Reauthenticate",
    "files are no accounts or groups; the message that refers to one is in a log": (
        "CreateUpload CompleteUpload AbortUpload Upload"
    ),
    "apps repeat it at each start, for the device that calls": "RegisterPushToken UnregisterPushToken",
    "it reaches the caller's own devices alone": "SendTestPush of NotifyService",
}
# Written without a call of their own.
OTHER_EVENTS: Final = {"account_provisioning", "account_purge", "device_provisioning", "refresh_token_reuse"}

CANARY: Final = "canary"
# Texts of ids, of which a field takes the first that its rule permits.
IDS: Final = ("0123456789abcdef" * 2, "1764633600000-0")


def methods() -> Iterator[MethodDescriptor]:
    public = [each for service in SERVICES for each in service.contract]
    for service in [*public, *ADMIN_SERVICES]:
        yield from service.methods


def exempt_methods() -> dict[str, str]:
    """Return the methods that are not audited, `Method` or `Service/Method`, with the reason."""
    found = dict[str, str]()
    for reason, names in NOT_AUDITED.items():
        listed = re.findall(r"(\w+)(?: of (\w+))?", names)
        found |= {f"{service}/{method}" if service else method: reason for method, service in listed}
    return found


def audited_methods() -> list[MethodDescriptor]:
    return [each for each in methods() if each.name in TABLES.get(each.containing_service.name, {})]


def test_every_method_is_audited_or_has_a_reason() -> None:
    exempt = exempt_methods()
    undecided = {
        f"{each.containing_service.name}/{each.name}"
        for each in methods()
        if (each.name in TABLES.get(each.containing_service.name, {}))
        == bool({each.name, f"{each.containing_service.name}/{each.name}"} & exempt.keys())
    }
    assert undecided == set(), "neither audited nor exempt, or both"


def test_no_exemption_and_no_rule_names_a_method_that_is_gone() -> None:
    found = list(methods())
    names = {each.name for each in found} | {f"{each.containing_service.name}/{each.name}" for each in found}
    assert exempt_methods().keys() - names == set()
    assert [
        f"{service}/{name}" for service, table in TABLES.items() for name in table
        if f"{service}/{name}" not in names
    ] == []  # fmt: skip


def test_document_lists_every_event_and_no_other() -> None:
    tables = PAGE.read_text(encoding="utf-8").partition("## Accounts")[2]
    listed = re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE)
    events = {rule.event for table in TABLES.values() for rule in table.values()} | OTHER_EVENTS
    assert sorted(listed) == sorted(events)


def filled(message_type: type[Message]) -> Message:
    """Return a message in which each field has a value: an id where its rule wants one, else text with CANARY."""
    message = message_type()
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    for field in fields:
        # Of a oneof the first field is set.
        if field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
            continue
        value = _value_of(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif isinstance(value, Message):
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def _value_of(field: Any) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Duration":
            return GetMessageClass(field.message_type)(seconds=3600)
        return filled(GetMessageClass(field.message_type))
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text_of(field)
    return {FieldDescriptor.TYPE_BOOL: True, FieldDescriptor.TYPE_BYTES: CANARY.encode()}.get(field.type, 1)


def _text_of(field: FieldDescriptor) -> str:
    options: Any = field.GetOptions()
    rules = options.Extensions[validate_pb2.field]
    texts = rules.repeated.items.string if field.is_repeated else rules.string
    if texts.uuid:
        return "01933333-3333-7333-8333-333333333333"
    if texts.pattern:
        return next(each for each in (*IDS, f"{CANARY}-name") if re.fullmatch(texts.pattern, each))
    return IDS[0] if field.name.endswith("_id") else f"{CANARY} {field.name}"


def line_of(method: MethodDescriptor, outcome: str) -> Mapping[str, Any]:
    """Return the line of a call whose texts, and those of its response, contain CANARY."""
    request = filled(GetMessageClass(method.input_type))
    validation.check(request)
    rule = TABLES[method.containing_service.name][method.name]
    headers = {"authorization": f"Bearer {CANARY}", "user-agent": CANARY, "x-service-credential": CANARY}
    origin = CallOrigin(headers, "ipv4:127.0.0.1:1", internal=False, request=request)
    audit = CallAudit(method, rule)
    with capture_logs() as logs:
        if outcome == "success":
            response = filled(GetMessageClass(method.output_type))
            audit.record_success(origin, response.SerializeToString())
        else:
            audit.record_unknown(origin, "CANCELLED")
    return logs[0] if logs else {}


@pytest.mark.parametrize("outcome", ["success", "unknown"])
@pytest.mark.parametrize("method", audited_methods(), ids=lambda each: each.full_name)
def test_line_has_no_text_of_a_request_or_response(method: MethodDescriptor, outcome: str) -> None:
    line = line_of(method, outcome)
    assert line or (outcome == "success" and TABLES[method.containing_service.name][method.name].failures_only)
    assert CANARY not in json.dumps(line)


@pytest.mark.parametrize(
    ("method", "target", "details"),
    [
        ("Login", {"user": IDS[0], "device": IDS[0]}, {}),
        ("UpdateProfile", {}, {"changed": ["display_name", "picture_media_id", "about"]}),
        ("CreateGroup", {"conversation": IDS[0], "users": [IDS[0]]}, {}),
        ("SetRole", {"conversation": IDS[0], "user": IDS[0]}, {"role": "member"}),
        ("SetRetention", {"conversation": IDS[0]}, {"rule": "forever"}),
        (
            "UpdateConversation",
            {"conversation": IDS[0]},
            {"changed": ["title", "picture_media_id"], "admins_only_send": True},
        ),
        ("UpdatePrivacy", {}, {"who_may_add": "everyone", "found_by_search": True}),
        ("SetVisibility", {}, {"online": "everyone", "last_seen": "everyone"}),
        ("SetLogLevel", {}, {"level": "debug", "seconds": 3600.0}),
        ("DeleteDeadLetters", {"dead_letters": [IDS[1]]}, {}),
    ],
)
def test_line_names_what_a_call_acts_on_and_changes(
    method: str, target: dict[str, object], details: dict[str, object]
) -> None:
    [found] = [each for each in audited_methods() if each.name == method]
    line = line_of(found, "success")
    assert (line["target"], line["details"]) == (target, details)


def test_every_service_for_operators_is_checked() -> None:
    found = {
        name
        for path in PROTOS.glob("*.proto")
        for name in re.findall(r"^service (\w*AdminService) ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {each.name for each in ADMIN_SERVICES}
