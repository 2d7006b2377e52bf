"""The reset of a call whose client does not read, so that the server does not keep what it has not read.

gRPC writes the end of a call, its status, after the data that waits for the client's flow control: a client that reads
nothing would keep the call, and that data, for as long as its connection lives. grpc.aio has no function that resets a
call. It runs each call in two tasks: the outer one waits until the client closes the call, and starts the inner one,
which runs the handler and sends what it returns. Once both are cancelled nothing refers to the call any more, and gRPC
resets its stream and frees the data. The outer task is not passed to handlers, so the task factory of the event loop
leaves it in the context that the inner task inherits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any, Final

import structlog

from servicekit.tasks import on_task_end

# A client that has not read the end of a call within this time never does. Shorter than Envoy's limit of unary calls.
UNREAD_TIMEOUT_S: Final = 30.0
# The coroutine of the outer task.
_OUTER: Final = "_schedule_rpc_coro"

_outer_task: contextvars.ContextVar[list[asyncio.Task[Any]]] = contextvars.ContextVar("outer_task")

_log = structlog.get_logger("rpc")


def install_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Make the calls that are served on `loop` resettable."""
    loop.set_task_factory(_create_task)


def _create_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    if getattr(coro, "__name__", "") != _OUTER:
        return asyncio.Task(coro, loop=loop, context=context)
    context = context or contextvars.copy_context()
    holder: list[asyncio.Task[Any]] = []
    context.run(_outer_task.set, holder)
    holder.append(asyncio.Task(coro, loop=loop, context=context))
    return holder[0]


def reset_unless_read(method: str, timeout_s: float) -> None:
    """Reset the call that the current task serves if its client has not read its end after `timeout_s` seconds."""
    tasks = [asyncio.current_task(), *_outer_task.get([])]

    def reset() -> None:
        _log.info("unread call reset", method=method)
        for task in tasks:
            if task is not None:
                task.cancel()

    timer = asyncio.get_running_loop().call_later(timeout_s, reset)
    # The task ends once gRPC has sent the end of the call, or the client has closed it.
    on_task_end(timer.cancel)
