"""A base class for servicers of which a test implements only some methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from servicekit.failure import Failure


class PartialServicer:
    """A servicer that has every method: those that a subclass does not define refuse their calls."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def refuse(*_: object) -> None:
            raise Failure(f"this test does not call {name}", code="UNIMPLEMENTED")

        return refuse
