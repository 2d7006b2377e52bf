"""What the calls of a stage change: earlier messages, members, personal settings, devices and blocks."""

from __future__ import annotations

from typing import Any

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Entry, MembershipChanged
from tests.unit.client.stage import Log, Refused, Stage, status
from tests.unit.client.stage_calls import abort, caller, told

LEFT, REMOVED = MembershipChanged.KIND_LEFT, MembershipChanged.KIND_REMOVED


def target(stage: Stage, request: Any, user: str, *, own: bool = False) -> tuple[Log, Entry]:
    """The message that a request concerns, in its log."""
    log = stage.log(request.conversation_id, user)
    found = [each for each in log.visible(user) if each.seq == request.target_seq]
    if not found or not found[0].HasField("message_appended") or found[0].message_appended.delete_seq:
        raise Refused(status("NOT_FOUND", "MESSAGE_NOT_FOUND"))
    if own and found[0].actor_id != user and log.roles.get(user) != entry_pb2.ROLE_ADMIN:
        raise Refused(status("PERMISSION_DENIED", "ROLE_INSUFFICIENT", message="only its author may edit a message"))
    return log, found[0]


def append(stage: Stage, log: Log, user: str, request: Any, **kind: Any) -> chat_pb2.Appended:
    """An entry for a request, once."""
    key = user + request.request_id
    if key not in log.keys:
        log.keys[key] = stage.append(log, Entry(actor_id=user, **kind)), b""
    return log.keys[key][0]


class ChatChanges:
    """The part of ChatService that changes earlier messages, and looks for them."""

    stage: Stage

    async def EditMessage(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        log, message = await told(context, lambda: target(self.stage, request, user, own=True))
        edited = entry_pb2.MessageEdited(target_seq=request.target_seq, content=request.content)
        for earlier in log.entries:
            if earlier.message_edited.target_seq == request.target_seq:
                earlier.message_edited.ClearField("content")
        appended = append(self.stage, log, user, request, message_edited=edited)
        message.message_appended.content.CopyFrom(request.content)
        message.message_appended.edit_seq = appended.seq
        return chat_pb2.EditMessageResponse(appended=appended)

    async def DeleteMessage(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        log, message = await told(context, lambda: target(self.stage, request, user, own=request.for_all))
        if not request.for_all:
            log.hidden[user].add(request.target_seq)
            self.stage.recheck(log, user)
            return chat_pb2.DeleteMessageResponse()
        deleted = entry_pb2.MessageDeleted(target_seq=request.target_seq)
        appended = append(self.stage, log, user, request, message_deleted=deleted)
        message.message_appended.ClearField("content")
        message.message_appended.delete_seq = appended.seq
        return chat_pb2.DeleteMessageResponse(appended=appended)

    async def SetReaction(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        log, message = await told(context, lambda: target(self.stage, request, user))
        changed = entry_pb2.ReactionChanged(target_seq=request.target_seq, emoji=request.emoji)
        appended = append(self.stage, log, user, request, reaction_changed=changed)
        kept = [each for each in message.message_appended.reactions if each.user_id != user]
        kept += [entry_pb2.Reaction(user_id=user, emoji=request.emoji)] if request.emoji else []
        del message.message_appended.reactions[:]
        message.message_appended.reactions.extend(kept)
        return chat_pb2.SetReactionResponse(appended=appended)

    async def SearchMessages(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        logs = [log for log in self.stage.logs.values() if user in log.members]
        wanted = [log for log in logs if request.conversation_id in ("", log.id)]
        words = request.query.casefold().split()
        entries = [entry for log in wanted for entry in log.visible(user)]
        found = [each for each in entries if all(word in said(each).casefold() for word in words)]
        newest = sorted(found, key=lambda each: each.create_time.ToNanoseconds(), reverse=True)
        return chat_pb2.SearchMessagesResponse(messages=newest[: request.page_size or 20])

    async def ListReaders(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        log = await told(context, lambda: self.stage.log(request.conversation_id, user))
        sender = log.entries[request.seq - 1].actor_id
        marks = [self.stage.watermark(log, each) for each in log.members if each != sender]
        return chat_pb2.ListReadersResponse(watermarks=marks)


def said(entry: Entry) -> str:
    return entry.message_appended.content.text.body


class ConversationChanges:
    """The part of ConversationService that changes groups and personal settings."""

    stage: Stage

    async def _group(self, request: Any, context: Any, *, admin: bool = True) -> tuple[str, Log]:
        user, _ = await caller(self.stage, context)
        log = await told(context, lambda: self.stage.log(request.conversation_id, user))
        if admin and log.kind == conversation_pb2.CONVERSATION_KIND_GROUP and log.roles.get(user) != 2:
            await abort(context, status("PERMISSION_DENIED", "ROLE_INSUFFICIENT"))
        return user, log

    async def UpdateConversation(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context)
        updated = entry_pb2.ConversationUpdated()
        for name in ("title", "picture_media_id", "admins_only_send"):
            if request.HasField(name):
                setattr(updated, name, getattr(request, name))
        append(self.stage, log, user, request, conversation_updated=updated)
        log.title = request.title if request.HasField("title") else log.title
        return conversation_pb2.UpdateConversationResponse(conversation=self.stage.conversation(log, user))

    async def AddMembers(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context)
        await told(context, lambda: self.stage.check_may_be_added(request.member_ids))
        self.stage.change_members(log, user, MembershipChanged.KIND_ADDED, list(request.member_ids))
        return conversation_pb2.AddMembersResponse(conversation=self.stage.conversation(log, user))

    async def RemoveMember(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context)
        self.stage.change_members(log, user, REMOVED, [request.user_id])
        return conversation_pb2.RemoveMemberResponse()

    async def LeaveGroup(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context, admin=False)
        self.stage.change_members(log, user, LEFT, [user])
        return conversation_pb2.LeaveGroupResponse()

    async def SetRole(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context)
        if request.user_id not in log.members:
            await abort(context, status("NOT_FOUND", "USER_NOT_FOUND", user_id=request.user_id))
        log.roles[request.user_id] = request.role
        self.stage.change_members(log, user, MembershipChanged.KIND_ROLE_CHANGED, [request.user_id])
        return conversation_pb2.SetRoleResponse()

    async def SetRetention(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context)
        updated = entry_pb2.ConversationUpdated(retention=request.retention)
        append(self.stage, log, user, request, conversation_updated=updated)
        return conversation_pb2.SetRetentionResponse()

    async def SetMute(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context, admin=False)
        log.settings[user].ClearField("mute_until_time")
        if request.HasField("mute_until_time"):
            log.settings[user].mute_until_time.CopyFrom(request.mute_until_time)
        self.stage.recheck(log, user)
        return conversation_pb2.SetMuteResponse()

    async def SetPinned(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context, admin=False)
        log.settings[user].pinned = request.pinned
        self.stage.recheck(log, user)
        return conversation_pb2.SetPinnedResponse()

    async def SetArchived(self, request: Any, context: Any) -> Any:
        user, log = await self._group(request, context, admin=False)
        log.settings[user].archived = request.archived
        self.stage.recheck(log, user)
        return conversation_pb2.SetArchivedResponse()


class AccountChanges:
    """The part of AccountService that concerns devices, blocks and the account as a whole."""

    stage: Stage

    async def ListDevices(self, request: Any, context: Any) -> Any:
        user, here = await caller(self.stage, context)
        devices = {device: None for owner, device in self.stage.refresh.values() if owner == user}
        alive = [device for device in devices if device not in self.stage.revoked]
        told_of = [
            account_pb2.Device(device_id=each, name=self.stage.device_names.format(each[:4]), current=each == here)
            for each in alive
        ]
        return account_pb2.ListDevicesResponse(devices=told_of)

    async def RevokeDevice(self, request: Any, context: Any) -> Any:
        await caller(self.stage, context)
        self.stage.revoke(request.device_id)
        return account_pb2.RevokeDeviceResponse()

    async def ChangePassword(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        name = self.stage.users[user].login_name
        if self.stage.passwords[name][0] != request.old_password:
            await abort(context, status("UNAUTHENTICATED", "CREDENTIALS_INVALID"))
        self.stage.passwords[name] = (request.new_password, user)
        return account_pb2.ChangePasswordResponse()

    async def BlockUser(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        self.stage.blocks[user][request.user_id] = None
        return account_pb2.BlockUserResponse()

    async def UnblockUser(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        self.stage.blocks[user].pop(request.user_id, None)
        return account_pb2.UnblockUserResponse()

    async def ListBlocked(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        return account_pb2.ListBlockedResponse(user_ids=self.stage.blocks[user])

    async def GetPrivacy(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        return account_pb2.GetPrivacyResponse(privacy=self.stage.privacy[user])

    async def UpdatePrivacy(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        privacy = self.stage.privacy[user]
        privacy.who_may_add = request.who_may_add or privacy.who_may_add
        if request.HasField("found_by_search"):
            privacy.found_by_search = request.found_by_search
        return account_pb2.UpdatePrivacyResponse(privacy=privacy)

    async def DeleteAccount(self, request: Any, context: Any) -> Any:
        user, _ = await caller(self.stage, context)
        name = self.stage.users[user].login_name
        if self.stage.passwords[name][0] != request.password:
            await abort(context, status("UNAUTHENTICATED", "CREDENTIALS_INVALID"))
        del self.stage.passwords[name], self.stage.users[user]
        return account_pb2.DeleteAccountResponse()

    async def ExportAccount(self, request: Any, context: Any) -> Any:
        await caller(self.stage, context)
        for part in (b"PK first, ", b"second"):
            yield account_pb2.ExportAccountResponse(chunk=part)
