"""Authorization: the rules by which a draft becomes the change to append, or is refused."""

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
    """A message that an edit, deletion or reaction targets; `deleted` means deleted for all members."""

    author_id: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class AuthorizationContext:
    """The state by which drafts are authorized.

    `targets` has the messages that drafts target, by seq; a seq that is absent is no message. `blocked` is True if one
    user of a 1-1 conversation has blocked the other.
    """

    conversation: Conversation | None
    targets: Mapping[int, TargetMessage]
    blocked: bool = False
    group_members: int = MAX_GROUP_MEMBERS

    def after_entry(self, entry: Entry) -> AuthorizationContext:
        """Return the context for the drafts after `entry`."""
        if isinstance(entry.change, Message):
            return self
        if isinstance(entry.change, MessageDeleted):
            deleted = replace(self.targets[entry.change.target_seq], deleted=True)
            return replace(self, targets={**self.targets, entry.change.target_seq: deleted})
        return replace(self, conversation=apply_entry(self.conversation, entry))


def authorize(draft: Draft, context: AuthorizationContext) -> Change | None:
    """Return the change to append for `draft`, or None if it changes nothing.

    Raise Failure if the actor may not make the change, or the conversation or target does not exist for the actor.
    """
    change, conversation = draft.change, context.conversation
    if isinstance(change, MembershipChanged) and change.kind is MembershipKind.CREATED:
        if conversation is not None:
            raise ConversationExists("the conversation already exists")
        return change
    if conversation is None or draft.actor_id not in conversation.members:
        raise ConversationNotFound("conversation not found")
    if isinstance(change, Message):
        _check_may_send(draft.actor_id, conversation, context.blocked)
        return change
    if isinstance(change, MembershipChanged):
        return _authorize_membership(draft, change, conversation, context.group_members)
    if isinstance(change, ConversationUpdated):
        return _authorize_update(draft.actor_id, change, conversation, context.blocked)
    return _authorize_mutation(draft.actor_id, change, conversation, context)


def _check_may_send(actor: str, conversation: Conversation, blocked: bool) -> None:
    if conversation.admins_only_send:
        _check_admin(actor, conversation)
    _check_not_blocked(conversation, blocked)


def _check_not_blocked(conversation: Conversation, blocked: bool) -> None:
    if blocked and conversation.kind is ConversationKind.DIRECT:
        raise Blocked("one of the two users has blocked the other")


def _check_admin(actor: str, conversation: Conversation) -> None:
    if conversation.members[actor].role is not Role.ADMIN:
        raise RoleInsufficient("only admins may do this")


def _authorize_mutation(
    actor: str, change: MessageMutation, conversation: Conversation, context: AuthorizationContext
) -> Change:
    seq, target = change.target_seq, context.targets.get(change.target_seq)
    if target is None or target.deleted or seq < conversation.first_seq or not conversation.can_see(actor, seq):
        raise MessageNotFound("message not found")
    is_author = target.author_id == actor
    if isinstance(change, MessageEdited):
        if not is_author:
            raise RoleInsufficient("only its author may edit a message")
        # An edit says something new, as a message does.
        _check_may_send(actor, conversation, context.blocked)
    if isinstance(change, MessageDeleted) and not is_author:
        if conversation.kind is ConversationKind.DIRECT:
            raise RoleInsufficient("only its author may delete a message")
        _check_admin(actor, conversation)
    # A user may delete messages also after a block.
    if not isinstance(change, MessageDeleted):
        _check_not_blocked(conversation, context.blocked)
    return change


def _authorize_update(actor: str, change: ConversationUpdated, conversation: Conversation, blocked: bool) -> Change:
    if conversation.kind is ConversationKind.DIRECT:
        _check_not_blocked(conversation, blocked)
        if change != ConversationUpdated(retention=change.retention):
            raise NotAGroup("a 1-1 conversation has no title, picture or roles")
        return change
    _check_admin(actor, conversation)
    return change


def _authorize_membership(
    draft: Draft, change: MembershipChanged, conversation: Conversation, max_members: int
) -> Change | None:
    actor = draft.actor_id
    if conversation.kind is ConversationKind.DIRECT:
        raise NotAGroup("the members of a 1-1 conversation cannot change")
    if change.kind is MembershipKind.LEFT:
        return _member_left(actor, conversation)
    _check_admin(actor, conversation)
    if change.kind is MembershipKind.ADDED:
        return _members_added(change, conversation, draft.consent_exempt, max_members)
    [(user, role)] = change.members
    if user not in conversation.members:
        raise UserNotFound("this user is not a member", metadata={"user_id": user})
    if change.kind is MembershipKind.REMOVED:
        # Removing oneself is leaving, which also keeps an admin in the group.
        return _member_left(actor, conversation) if user == actor else change
    return _role_changed(user, role, conversation)


def _members_added(
    change: MembershipChanged, conversation: Conversation, consent_exempt: frozenset[str], max_members: int
) -> Change | None:
    # An exempt user who has left since would be added again without having consented.
    skipped = conversation.members.keys() | consent_exempt
    new = tuple((user, role) for user, role in change.members if user not in skipped)
    if len(conversation.members) + len(new) > max_members:
        raise GroupFull(f"a group may have at most {max_members} members")
    return MembershipChanged(MembershipKind.ADDED, new) if new else None


def _member_left(actor: str, conversation: Conversation) -> Change:
    """Return the change by which `actor` leaves; if no admin is left, the longest-standing member becomes one."""
    others = [(member.joined_seq, user) for user, member in conversation.members.items() if user != actor]
    members: tuple[tuple[str, Role], ...] = ((actor, Role.MEMBER),)
    if others and list(conversation.admins()) == [actor]:
        members = (*members, (min(others)[1], Role.ADMIN))
    return MembershipChanged(MembershipKind.LEFT, members)


def _role_changed(user: str, role: Role, conversation: Conversation) -> Change | None:
    if conversation.members[user].role is role:
        return None
    if list(conversation.admins()) == [user]:
        raise LastAdmin("a group needs an admin; make another member an admin first")
    return MembershipChanged(MembershipKind.ROLE_CHANGED, ((user, role),))
