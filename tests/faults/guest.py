"""A guest who is added to a group and removed again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from parley.chat.v1 import conversation_pb2
from tests.faults.retries import retry_while_unavailable
from tests.raw.device import RawDevice, new_id

# The pauses between two moves, in seconds.
MOVES: Final = (1.0, 4.0)


async def remove_and_add(
    admin: RawDevice, guest: str, group: str, random: Random, is_running: Callable[[], bool], errors: list[str]
) -> None:
    """Remove the user `guest` from a group and add it again while `is_running` returns true; it is a member in the end.

    What is refused for good goes to `errors`.
    """
    while is_running():
        for request in (
            conversation_pb2.RemoveMemberRequest(request_id=new_id(), conversation_id=group, user_id=guest),
            conversation_pb2.AddMembersRequest(request_id=new_id(), conversation_id=group, member_ids=[guest]),
        ):
            await asyncio.sleep(random.uniform(*MOVES))
            await retry_while_unavailable(partial(admin.call, request), errors)
