"""Blocks: whom a user does not want to hear from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from chat_service.accounts.ports import BlockStore
from chat_service.errors import Invalid, UserNotFound
from servicekit.failure import Violation

UsersExist = Callable[[Collection[str]], Awaitable[set[str]]]

OnBlockChanged = Callable[[str, str], Awaitable[None]]
"""Has whoever decides about messages between two users look again: `await on_block_changed(user_id, other_id)`.

What it raises the caller gets, who asks again: until then the block is kept, and need not bind everywhere.
"""


class BlockService:
    """The blocks of all users. Every method may raise StoreUnavailable."""

    def __init__(self, store: BlockStore, users_exist: UsersExist, on_block_changed: OnBlockChanged) -> None:
        self._store = store
        self._users_exist = users_exist
        self._on_block_changed = on_block_changed

    async def block(self, user_id: str, other_id: str) -> None:
        """Blocks a user; binds once this returns, and may be repeated. Raises UserNotFound, Invalid for oneself."""
        if user_id == other_id:
            violation = Violation("user_id", "must be another user")
            raise Invalid("nobody blocks oneself", violations=(violation,))
        if not await self._users_exist([other_id]):
            raise UserNotFound("no such user", metadata={"user_id": other_id})
        await self._store.block(user_id, other_id)
        await self._on_block_changed(user_id, other_id)

    async def unblock(self, user_id: str, other_id: str) -> None:
        """Takes a block back, if there is one; may be repeated."""
        await self._store.unblock(user_id, other_id)
        if user_id != other_id:
            await self._on_block_changed(user_id, other_id)

    async def list_blocked(self, user_id: str, after: str, limit: int) -> list[str]:
        """Whom a user blocks: the ids above `after`, in order, at most `limit`."""
        return await self._store.list_blocked(user_id, after, limit)
