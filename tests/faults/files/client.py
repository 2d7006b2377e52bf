"""A client of the media service that repeats its calls with the same ids until they are answered for good."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import grpc
import httpx2

from parley.media.v1 import media_pb2
from tests.raw.media import RawMedia, describe
from tests.raw.refusal import Refusal, of_error

# A client gives up a call after this time and repeats it; shorter than servers are frozen.
CALL_S: Final = 4.0
# A request is answered at last after this time, whatever has failed.
ANSWERED_S: Final = 60.0
AGAIN_S: Final = 0.3
MOST_AGAIN_S: Final = 1.0
LATER: Final = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")
# Attempts to put the parts of an upload: the store is away for less.
ATTEMPTS: Final = 60

Answer = TypeVar("Answer")


class PatientClient:
    """The files of a device. An answer is a response, or a Refusal for good."""

    def __init__(self, media: RawMedia, random: Random) -> None:
        self.media = media
        self._random = random

    async def upload_stream(self, data: bytes, announced: dict[str, Any]) -> Any:
        """Upload by a stream."""
        request_id = str(uuid.uuid4())
        return await self.ask(lambda: self.media.upload(data, request_id=request_id, **announced))

    async def upload_parts(self, data: bytes, announced: dict[str, Any]) -> Any:
        """Upload in parts: put those that the store does not have, until it can join them."""
        create = media_pb2.CreateUploadRequest(request_id=str(uuid.uuid4()), file=describe(data, **announced))
        created = await self.ask(lambda: self.media.device.call(create))
        if isinstance(created, Refusal):
            return created
        media_id, parts, refusal = created.upload.media_id, list(created.parts), None
        for _ in range(ATTEMPTS):
            if all([await self.put(data, part) for part in parts if not part.stored]):
                answer = await self.ask(lambda: self.media.complete(media_id))
                if not isinstance(answer, Refusal) or answer.reason != "FIELD_INVALID":
                    return answer
                refusal = answer
            await asyncio.sleep(AGAIN_S)
            listed = await self.ask(lambda: self.media.device.call(media_pb2.ListUploadPartsRequest(media_id=media_id)))
            if isinstance(listed, Refusal):
                return listed
            parts = list(listed.parts)
        return refusal or Refusal("UNAVAILABLE", message="the parts could not be stored")

    async def put(self, data: bytes, part: media_pb2.Part) -> bool:
        """PUT a part, and return whether the store took it."""
        try:
            async with asyncio.timeout(CALL_S):
                return (await self.media.put_part(data, part)).is_success
        except (httpx2.HTTPError, TimeoutError):
            return False

    async def ask(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | Refusal:
        """Return the response or the refusal for good; repeat the same request while it is refused temporarily."""
        until = time.monotonic() + ANSWERED_S
        while time.monotonic() < until:
            answer = await attempt(ask)
            if answer is not None:
                return answer
            await asyncio.sleep(self._random.uniform(AGAIN_S, MOST_AGAIN_S))
        return Refusal("UNAVAILABLE", message=f"not answered within {ANSWERED_S:g} s")


async def attempt(ask: Callable[[], Awaitable[Answer]]) -> Answer | Refusal | None:
    """Return the response, or the refusal for good; None if the request should be repeated."""
    try:
        async with asyncio.timeout(CALL_S):
            return await ask()
    except grpc.aio.AioRpcError as error:
        refusal = of_error(error)
        # The door resets the stream of a download whose server has died.
        broken = refusal.code == "INTERNAL" and "RST_STREAM" in refusal.message
        return None if broken or refusal.code in LATER else refusal
    except TimeoutError:
        return None
