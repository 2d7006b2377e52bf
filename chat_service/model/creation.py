"""The making of a conversation: the entries its log begins with."""

from __future__ import annotations

from dataclasses import dataclass

from chat_service.model.entry import ConversationUpdated, Draft, MembershipChanged, MembershipKind, Role


@dataclass(frozen=True, slots=True)
class Creation:
    """Who makes which conversation with whom; a 1-1 conversation has no title, a group always has one."""

    conversation_id: str
    creator_id: str
    request_id: bytes
    member_ids: tuple[str, ...]
    title: str

    def drafts(self) -> list[Draft]:
        """Its first entries: the members, and the title of a group."""
        roles = tuple((user, self._role(user)) for user in sorted(self.member_ids))
        created = self._draft(self.request_id, MembershipChanged(MembershipKind.CREATED, roles))
        if not self.title:
            return [created]
        # One request, two entries: the second key is the id with a first bit that no UUIDv7 of our time has.
        titled = bytes([self.request_id[0] ^ 0x80]) + self.request_id[1:]
        return [created, self._draft(titled, ConversationUpdated(self.title))]

    def _role(self, user: str) -> Role:
        return Role.ADMIN if self.title and user == self.creator_id else Role.MEMBER

    def _draft(self, request_id: bytes, change: MembershipChanged | ConversationUpdated) -> Draft:
        return Draft(self.conversation_id, self.creator_id, request_id, change, made_ms=0)
