"""What a member may do to a conversation: a draft becomes the change that is appended, or is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from chat_service.errors import (
    Blocked,
    ConversationExists,
    ConversationNotFound,
    GroupFull,
    LastAdmin,
    MessageNotFound,
    NotAGroup,
    RoleInsufficient,
    UserNotFound,
)
from chat_service.model.conversation import Conversation, ConversationKind, apply_entry
from chat_service.model.entry import (
    Change,
    ConversationUpdated,
    Draft,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageDeleted,
    MessageEdited,
    MessageMutation,
    Role,
)

MAX_GROUP_MEMBERS: Final = 100


@dataclass(frozen=True, slots=True)
class TargetMessage:
    """A message that a draft concerns: whose it is, and whether it was deleted for all."""

    author_id: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class AuthorizationContext:
    """What decides: the conversation, the messages that drafts concern by seq, and whether one bars the other.

    A seq that is not in `targets` is no message.
    """

    conversation: Conversation | None
    targets: Mapping[int, TargetMessage]
    blocked: bool = False
    group_members: int = MAX_GROUP_MEMBERS

    def after_entry(self, entry: Entry) -> AuthorizationContext:
        """What it is once `entry` is appended."""
        if isinstance(entry.change, Message):
            return self
        if isinstance(entry.change, MessageDeleted):
            gone = replace(self.targets[entry.change.target_seq], deleted=True)
            return replace(self, targets={**self.targets, entry.change.target_seq: gone})
        return replace(self, conversation=apply_entry(self.conversation, entry))


def authorize(draft: Draft, situation: AuthorizationContext) -> Change | None:
    """What is appended for `draft`; None if it changes nothing. Raises Failure if it may not be."""
    change, conversation = draft.change, situation.conversation
    if isinstance(change, MembershipChanged) and change.kind is MembershipKind.CREATED:
        if conversation is not None:
            raise ConversationExists("this conversation is there already")
        return change
    if conversation is None or draft.actor_id not in conversation.members:
        raise ConversationNotFound("no such conversation")
    if isinstance(change, Message):
        _check_may_send(draft.actor_id, conversation, situation.blocked)
        return change
    if isinstance(change, MembershipChanged):
        return _authorize_membership(draft, change, conversation, situation.group_members)
    if isinstance(change, ConversationUpdated):
        return _authorize_update(draft.actor_id, change, conversation, situation.blocked)
    return _authorize_mutation(draft.actor_id, change, conversation, situation)


def _check_may_send(actor: str, conversation: Conversation, barred: bool) -> None:
    if conversation.admins_only_send:
        _check_admin(actor, conversation)
    _check_not_blocked(conversation, barred)


def _check_not_blocked(conversation: Conversation, barred: bool) -> None:
    if barred and conversation.kind is ConversationKind.DIRECT:
        raise Blocked("one of the two has blocked the other")


def _check_admin(actor: str, conversation: Conversation) -> None:
    if conversation.members[actor].role is not Role.ADMIN:
        raise RoleInsufficient("only admins may do this")


def _authorize_mutation(
    actor: str, change: MessageMutation, conversation: Conversation, situation: AuthorizationContext
) -> Change:
    seq, target = change.target_seq, situation.targets.get(change.target_seq)
    if target is None or target.deleted or seq < conversation.first_seq or not conversation.can_see(actor, seq):
        raise MessageNotFound("no such message")
    own = target.author_id == actor
    if isinstance(change, MessageEdited) and not own:
        raise RoleInsufficient("only its author may edit a message")
    if isinstance(change, MessageDeleted) and not own:
        if conversation.kind is ConversationKind.DIRECT:
            raise RoleInsufficient("only its author may delete a message")
        _check_admin(actor, conversation)
    # To take back what one said is always allowed.
    if not isinstance(change, MessageDeleted):
        _check_not_blocked(conversation, situation.blocked)
    return change


def _authorize_update(actor: str, change: ConversationUpdated, conversation: Conversation, barred: bool) -> Change:
    if conversation.kind is ConversationKind.DIRECT:
        _check_not_blocked(conversation, barred)
        if change != ConversationUpdated(retention=change.retention):
            raise NotAGroup("a 1-1 conversation has no title, picture or roles")
        return change
    _check_admin(actor, conversation)
    return change


def _authorize_membership(
    draft: Draft, change: MembershipChanged, conversation: Conversation, most: int
) -> Change | None:
    actor = draft.actor_id
    if conversation.kind is ConversationKind.DIRECT:
        raise NotAGroup("nobody comes to a 1-1 conversation or leaves it")
    if change.kind is MembershipKind.LEFT:
        return _member_left(actor, conversation)
    _check_admin(actor, conversation)
    if change.kind is MembershipKind.ADDED:
        return _members_added(change, conversation, draft.consent_exempt, most)
    [(user, role)] = change.members
    if user not in conversation.members:
        raise UserNotFound("this user is not a member", metadata={"user_id": user})
    if change.kind is MembershipKind.REMOVED:
        # Who is removed by oneself leaves.
        return _member_left(actor, conversation) if user == actor else change
    return _role_changed(user, role, conversation)


def _members_added(
    change: MembershipChanged, conversation: Conversation, not_asked: frozenset[str], most: int
) -> Change | None:
    # Who left while the others were asked would be back without a word.
    there = conversation.members.keys() | not_asked
    new = tuple((user, role) for user, role in change.members if user not in there)
    if len(conversation.members) + len(new) > most:
        raise GroupFull(f"a group may have {most} members")
    return MembershipChanged(MembershipKind.ADDED, new) if new else None


def _member_left(actor: str, conversation: Conversation) -> Change:
    """With the last admin's leave the longest-standing member becomes one, in the same entry."""
    others = [(member.joined_seq, user) for user, member in conversation.members.items() if user != actor]
    members: tuple[tuple[str, Role], ...] = ((actor, Role.MEMBER),)
    if others and list(conversation.admins()) == [actor]:
        members = (*members, (min(others)[1], Role.ADMIN))
    return MembershipChanged(MembershipKind.LEFT, members)


def _role_changed(user: str, role: Role, conversation: Conversation) -> Change | None:
    if conversation.members[user].role is role:
        return None
    if list(conversation.admins()) == [user]:
        raise LastAdmin("a group needs an admin; make somebody else one first")
    return MembershipChanged(MembershipKind.ROLE_CHANGED, ((user, role),))
