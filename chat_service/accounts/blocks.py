"""Blocks: a user who blocks another receives no messages from that user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from chat_service.accounts.ports import BlockStore
from chat_service.errors import UserNotFound
from servicekit.errors import Invalid
from servicekit.failure import Violation

UsersExist = Callable[[Collection[str]], Awaitable[set[str]]]

OnBlockChanged = Callable[[str, str], Awaitable[None]]
"""Makes the servers that authorise messages between two users reload their blocks: `(user_id, other_id)`.

Its failures are raised to the caller, who repeats the call: until then the block is stored but may not be enforced.
"""


class BlockService:
    """The blocks of all users. Every method may raise StoreUnavailable."""

    def __init__(self, store: BlockStore, users_exist: UsersExist, on_block_changed: OnBlockChanged) -> None:
        self._store = store
        self._users_exist = users_exist
        self._on_block_changed = on_block_changed

    async def block(self, user_id: str, other_id: str) -> None:
        """Block a user; enforced once this returns. Idempotent. Raise UserNotFound, Invalid for the own id."""
        if user_id == other_id:
            violation = Violation("user_id", "must be another user")
            raise Invalid("a user cannot block their own id", violations=(violation,))
        if not await self._users_exist([other_id]):
            raise UserNotFound("user not found", metadata={"user_id": other_id})
        await self._store.block(user_id, other_id)
        await self._on_block_changed(user_id, other_id)

    async def unblock(self, user_id: str, other_id: str) -> None:
        """Remove a block if it exists. Idempotent."""
        await self._store.unblock(user_id, other_id)
        if user_id != other_id:
            await self._on_block_changed(user_id, other_id)

    async def list_blocked(self, user_id: str, after: str, limit: int) -> list[str]:
        """Return the ids of at most `limit` users that a user blocks, in order, above `after`."""
        return await self._store.list_blocked(user_id, after, limit)
