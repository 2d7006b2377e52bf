"""The audit events of the calls that administer accounts and groups; docs/audit.md lists them with their fields."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from google.protobuf.message import Message

from chat_service.accounts.errors import RefreshTokenInvalid
from chat_service.accounts.refresh_tokens import RefreshToken
from parley.chat.v1 import account_pb2, conversation_pb2, entry_pb2
from servicekit.audit import AuditRule, AuditTable, Describe, Fields


def _fields(*names: str) -> Describe:
    """Return a function that copies these fields of a request, without `_id` at the end of their names."""

    def describe(request: Message, _: object) -> Fields:
        return {name.removesuffix("_id"): getattr(request, name) for name in names}

    return describe


def _changed(*names: str) -> Describe:
    """Return a function that names those of these fields that a request sets, without their values."""

    def describe(request: Message, _: object) -> Fields:
        return {"changed": [name for name in names if request.HasField(name)]}

    return describe


def _signed_in(_: object, response: account_pb2.RegisterResponse | account_pb2.LoginResponse | None) -> Fields:
    return {"user": response.session.user_id, "device": response.session.device_id} if response else {}


def _claimed_by_token(request: account_pb2.RefreshTokenRequest, _: object) -> Fields:
    """Return the ids in a refresh token, which was refused: anybody may have made it."""
    with suppress(RefreshTokenInvalid):
        token = RefreshToken.parse(request.refresh_token)
        return {"user": token.user_id, "device": token.device_id}
    return {}


def _privacy(request: account_pb2.UpdatePrivacyRequest, _: object) -> Fields:
    changes: dict[str, object] = {}
    if request.who_may_add:
        name = account_pb2.WhoMayAdd.Name(request.who_may_add)
        changes["who_may_add"] = name.removeprefix("WHO_MAY_ADD_").lower()
    if request.HasField("found_by_search"):
        changes["found_by_search"] = request.found_by_search
    return changes


def _created_group(
    request: conversation_pb2.CreateGroupRequest, response: conversation_pb2.CreateGroupResponse | None
) -> Fields:
    created = {"conversation": response.conversation.conversation_id} if response else {}
    return {**created, "users": _ids(request.member_ids)}


def _added_members(request: conversation_pb2.AddMembersRequest, _: object) -> Fields:
    return {"conversation": request.conversation_id, "users": _ids(request.member_ids)}


def _group_settings(request: conversation_pb2.UpdateConversationRequest, _: object) -> Fields:
    settings = {"admins_only_send": request.admins_only_send} if request.HasField("admins_only_send") else {}
    return {"changed": [name for name in ("title", "picture_media_id") if request.HasField(name)], **settings}


def _role(request: conversation_pb2.SetRoleRequest, _: object) -> Fields:
    # An unset role means a member.
    return {"role": entry_pb2.Role.Name(request.role or entry_pb2.ROLE_MEMBER).removeprefix("ROLE_").lower()}


def _retention(request: conversation_pb2.SetRetentionRequest, _: object) -> Fields:
    rule = request.retention.WhichOneof("rule") or "default"
    return {"rule": rule, **({"seconds": request.retention.max_age.seconds} if rule == "max_age" else {})}


def _ids(ids: Sequence[str]) -> list[str]:
    return sorted(ids)


_OF_MEMBER: Final = _fields("conversation_id", "user_id")
_OF_GROUP: Final = _fields("conversation_id")

ACCOUNT_AUDIT: Final[AuditTable] = {
    "Register": AuditRule("account_registration", _signed_in),
    "Login": AuditRule("sign_in", _signed_in),
    "RefreshToken": AuditRule("token_refresh", _claimed_by_token, failures_only=True),
    "Logout": AuditRule("sign_out"),
    "ChangePassword": AuditRule("password_change"),
    "UpdateProfile": AuditRule("profile_change", details=_changed("display_name", "picture_media_id", "about")),
    "RevokeDevice": AuditRule("device_revocation", _fields("device_id")),
    "BlockUser": AuditRule("user_block", _fields("user_id")),
    "UnblockUser": AuditRule("user_unblock", _fields("user_id")),
    "UpdatePrivacy": AuditRule("privacy_change", details=_privacy),
    "DeleteAccount": AuditRule("account_deletion"),
    "ExportAccount": AuditRule("account_export"),
}

CONVERSATION_AUDIT: Final[AuditTable] = {
    "CreateGroup": AuditRule("group_creation", _created_group),
    "UpdateConversation": AuditRule("group_change", _OF_GROUP, _group_settings),
    "AddMembers": AuditRule("member_addition", _added_members),
    "RemoveMember": AuditRule("member_removal", _OF_MEMBER),
    "LeaveGroup": AuditRule("group_leave", _OF_GROUP),
    "SetRole": AuditRule("role_change", _OF_MEMBER, _role),
    "SetRetention": AuditRule("retention_change", _OF_GROUP, _retention),
}
