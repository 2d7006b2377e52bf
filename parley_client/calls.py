"""Calls in the name of the signed-in user: with a token, and again when the server is away for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

from parley_client.backoff import Backoff
from parley_client.channel import CALL_SECONDS, HOME_HEADER, Door, Metadata, Method, Request, Response, StreamMethod
from parley_client.errors import ParleyError, SignedOut, Unauthenticated, from_rpc
from parley_client.tokens import Tokens

# An archive of everything may take its time.
STREAM_SECONDS = 600.0


def bearer(token: str, home: str = "") -> Metadata:
    """What a call carries: the token, and where the server it should reach is."""
    named = ((HOME_HEADER, home),) if home else ()
    return (("authorization", f"Bearer {token}"), *named)


class Calls:
    """Asks through `door`; refusals for now are asked again for up to `patience` seconds."""

    def __init__(self, door: Door, tokens: Tokens, patience: float = 10.0) -> None:
        self._door = door
        self._tokens = tokens
        self._patience = patience

    async def open(self, method: Method[Request, Response], request: Request) -> Response:
        """Ask without a token. Asked again only if the server said it did nothing. Raises ParleyError."""
        return await self._again(method, request, signed=False)

    async def ask(self, method: Method[Request, Response], request: Request, seconds: float = CALL_SECONDS) -> Response:
        """Ask with the token; the request must be one that may be repeated. Raises ParleyError."""
        return await self._again(method, request, signed=True, seconds=seconds)

    async def stream(
        self, method: StreamMethod[Request, Response], request: Request, seconds: float = STREAM_SECONDS
    ) -> AsyncIterator[Response]:
        """Ask with the token for many answers, within `seconds` in all. Asked once only. Raises ParleyError."""
        metadata = bearer(await self._tokens.access())
        try:
            async for answer in method(self._door)(request, metadata=metadata, timeout=seconds):
                yield answer
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    async def _again(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        signed: bool,
        seconds: float = CALL_SECONDS,
    ) -> Response:
        backoff, ends = Backoff(), asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                if signed:
                    return await self._signed(method, request, seconds)
                return await self._door.call(method, request, seconds=seconds)
            except ParleyError as error:
                delay = backoff.next(error.retry_after)
                certain = signed or error.reason
                late = asyncio.get_running_loop().time() + delay > ends
                if not error.retryable or not certain or late or error.reason == "TOO_MANY_DEVICES":
                    raise
            await asyncio.sleep(delay)

    async def _signed(self, method: Method[Request, Response], request: Request, seconds: float) -> Response:
        token = await self._tokens.access()
        try:
            return await self._door.call(method, request, bearer(token), seconds)
        except SignedOut:
            raise
        except Unauthenticated as error:
            if error.reason == "CREDENTIALS_INVALID":
                raise
            # The door's own check of tokens gives no reason: a newer one is tried in any case, once.
            renewed = await self._tokens.renew(token)
        return await self._door.call(method, request, bearer(renewed.access_token), seconds)
