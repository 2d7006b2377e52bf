"""Authorization: the rules by which a draft becomes the change to append, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final, TypeVar

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
    NO_REFERENCES,
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
from chat_service.model.reactions import is_same_reaction

MAX_GROUP_MEMBERS: Final = 100
RetainMentions = Callable[[bytes, Collection[str]], bytes]
MessageWithContent = TypeVar("MessageWithContent", Message, MessageEdited)


@dataclass(frozen=True, slots=True)
class TargetMessage:
    """A message that an edit, deletion or reaction targets; `deleted` means deleted for all members.

    `content` is None if it was not loaded, because no edit targets the message. `reactions` are by user.
    """

    author_id: str
    deleted: bool = False
    content: bytes | None = None
    reactions: Mapping[str, str] = field(default_factory=dict)

    def after_mutation(self, actor: str, change: MessageMutation) -> TargetMessage:
        """Return the message after `change`."""
        if isinstance(change, MessageDeleted):
            return replace(self, deleted=True)
        if isinstance(change, MessageEdited):
            return replace(self, content=change.content)
        return replace(self, reactions={**self.reactions, actor: change.emoji})

    def is_changed_by(self, actor: str, change: MessageMutation) -> bool:
        """Return False if `change` leaves the message as it is."""
        if isinstance(change, MessageDeleted):
            return not self.deleted
        if isinstance(change, MessageEdited):
            return change.content != self.content
        return not is_same_reaction(self.reactions.get(actor, ""), change.emoji)


def keep_all_mentions(content: bytes, _: Collection[str]) -> bytes:
    """Return the content as it is."""
    return content


@dataclass(frozen=True, slots=True)
class AuthorizationContext:
    """The state by which drafts are authorized.

    `targets` has the messages that drafts target, by seq; a seq that is absent is no message. `blocked` is True if one
    user of a 1-1 conversation has blocked the other. `is_message` returns True for the seq of a message that a draft
    replies to. `retain_mentions` returns a content with the mentions of some users only.
    """

    conversation: Conversation | None
    targets: Mapping[int, TargetMessage]
    blocked: bool = False
    group_members: int = MAX_GROUP_MEMBERS
    is_message: Callable[[int], bool] = lambda _: False
    retain_mentions: RetainMentions = keep_all_mentions

    def after_entry(self, entry: Entry) -> AuthorizationContext:
        """Return the context for the drafts after `entry`."""
        if isinstance(entry.change, Message):
            return self
        if isinstance(entry.change, MessageMutation):
            seq = entry.change.target_seq
            target = self.targets[seq].after_mutation(entry.actor_id, entry.change)
            return replace(self, targets={**self.targets, seq: target})
        return replace(self, conversation=apply_entry(self.conversation, entry))


def authorize(draft: Draft, context: AuthorizationContext) -> Change | None:
    """Return the change to append for `draft`, or None if it changes nothing.

    Raise Failure if the actor may not make the change, if the conversation or target does not exist for the actor, or
    if the file that the content refers to was refused.
    """
    change, conversation = draft.change, context.conversation
    if isinstance(change, MembershipChanged) and change.kind is MembershipKind.CREATED:
        if conversation is not None:
            raise ConversationExists("the conversation already exists")
        return change
    if conversation is None or draft.actor_id not in conversation.members:
        raise ConversationNotFound("conversation not found")
    if draft.refusal is not None:
        raise draft.refusal
    if isinstance(change, Message):
        _check_may_send(draft.actor_id, conversation, context.blocked)
        return _with_valid_references(draft, change, conversation, context)
    if isinstance(change, MembershipChanged):
        return _authorize_membership(draft, change, conversation, context.group_members)
    if isinstance(change, ConversationUpdated):
        return _authorize_update(draft.actor_id, change, conversation, context.blocked)
    if isinstance(change, MessageEdited):
        change = _with_valid_references(draft, change, conversation, context)
    return _authorize_mutation(draft.actor_id, change, conversation, context)


def _with_valid_references(
    draft: Draft, change: MessageWithContent, conversation: Conversation, context: AuthorizationContext
) -> MessageWithContent:
    """Return `change` without mentions of users who are not members. Raise MessageNotFound for an invalid reply."""
    references = draft.references
    if references is NO_REFERENCES:
        return change
    if references.reply_to_seq and not _may_reply_to(references.reply_to_seq, draft, conversation, context):
        raise MessageNotFound("the message to reply to was not found")
    if references.mentioned_ids <= conversation.members.keys():
        return change
    return replace(change, content=context.retain_mentions(change.content, conversation.members.keys()))


def _may_reply_to(seq: int, draft: Draft, conversation: Conversation, context: AuthorizationContext) -> bool:
    if isinstance(draft.change, MessageEdited) and seq >= draft.change.target_seq:
        return False
    # Retention removes the messages below `first_seq`, but the device may still show them.
    known = seq < conversation.first_seq or context.is_message(seq)
    return known and conversation.can_see(draft.actor_id, seq)


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
) -> Change | None:
    seq, target = change.target_seq, context.targets.get(change.target_seq)
    if target is None or seq < conversation.first_seq or not conversation.can_see(actor, seq):
        raise MessageNotFound("message not found")
    if target.deleted and not isinstance(change, MessageDeleted):
        raise MessageNotFound("the message was deleted")
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
    return change if target.is_changed_by(actor, change) else None


def _authorize_update(
    actor: str, change: ConversationUpdated, conversation: Conversation, blocked: bool
) -> Change | None:
    if conversation.kind is ConversationKind.DIRECT:
        _check_not_blocked(conversation, blocked)
        if change != ConversationUpdated(retention=change.retention):
            raise NotAGroup("a 1-1 conversation has no title, picture or roles")
    else:
        _check_admin(actor, conversation)
    return _without_present_values(change, conversation)


def _without_present_values(change: ConversationUpdated, conversation: Conversation) -> ConversationUpdated | None:
    """Return `change` without the values that the conversation has already; None if nothing is left of it."""
    present = {each.name: getattr(conversation, each.name) for each in fields(change)}
    same = {name: None for name, value in present.items() if getattr(change, name) == value}
    return None if (changed := replace(change, **same)) == ConversationUpdated() else changed


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
