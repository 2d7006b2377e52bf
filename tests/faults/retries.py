"""Calls that are repeated while the servers are unavailable, as clients repeat them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from pymongo.errors import PyMongoError

from servicekit.errors import StoreUnavailable
from tests.raw.refusal import of_error

AGAIN_S: Final = 0.3
LATER: Final = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")


async def retry_while_unavailable(ask: Callable[[], Awaitable[Any]], errors: list[str]) -> Any:
    """Return the response of a call that may be repeated; None, and its refusal in `errors`, if it is refused for good.

    `ask` may also write straight into the store.
    """
    while True:
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            if (refusal := of_error(error)).code not in LATER:
                errors.append(f"{ask}: {refusal}")
                return None
        except (PyMongoError, StoreUnavailable):
            pass
        await asyncio.sleep(AGAIN_S)
