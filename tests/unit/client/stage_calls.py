"""How the calls of a stage know their caller, and refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.rpc.status_pb2 import Status

from tests.unit.client.stage import Refused, Stage


async def abort(context: Any, told: Status) -> None:
    details = (("grpc-status-details-bin", told.SerializeToString()),)
    code = next(each for each in grpc.StatusCode if each.value[0] == told.code)
    await context.abort(code, told.message, details)


async def told(context: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Refused as refused:
        await abort(context, refused.told)


async def caller(stage: Stage, context: Any) -> tuple[str, str]:
    token = dict(context.invocation_metadata()).get("authorization", "")
    found: tuple[str, str] = await told(context, lambda: stage.caller(token))
    return found
