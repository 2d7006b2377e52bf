"""Calls with the access token of the signed-in user, retried while the server is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import grpc.aio

from parley_client.backoff import Backoff
from parley_client.channel import (
    CALL_TIMEOUT_S,
    HOME_HEADER,
    Channel,
    Metadata,
    Method,
    Request,
    Response,
    StreamMethod,
    UploadMethod,
)
from parley_client.errors import ParleyError, SignedOut, Unauthenticated, from_rpc
from parley_client.tokens import TokenSource

# Long enough for the export of a whole account.
STREAM_TIMEOUT_S = 600.0


def auth_metadata(token: str, home: str = "") -> Metadata:
    """Return the metadata of a call: the token, and the home ("host:port") that Envoy routes it to."""
    route = ((HOME_HEADER, home),) if home else ()
    return (("authorization", f"Bearer {token}"), *route)


class AuthenticatedCalls:
    """Unary and streaming calls on `channel`; a retryable error is retried for up to `retry_timeout_s` seconds."""

    def __init__(self, channel: Channel, tokens: TokenSource, retry_timeout_s: float = 10.0) -> None:
        self._channel = channel
        self._tokens = tokens
        self._retry_timeout_s = retry_timeout_s

    async def call_without_token(self, method: Method[Request, Response], request: Request) -> Response:
        """Call without a token. An error without a reason is final: the call may have succeeded. Raises ParleyError."""
        return await self._retry(lambda: self._channel.call(method, request), is_repeatable=lambda error: error.reason)

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        timeout_s: float = CALL_TIMEOUT_S,
        *,
        idempotent: bool = True,
    ) -> Response:
        """Call with the token. Raises ParleyError.

        If the request is not idempotent, an error without a reason is final: the call may have succeeded.
        """
        return await self._call_with_token(
            lambda metadata: self._channel.call(method, request, metadata, timeout_s),
            is_repeatable=lambda error: idempotent or error.reason,
        )

    async def call_with_frames(
        self,
        method: UploadMethod[Request, Response],
        frames: Callable[[], AsyncIterator[Request]],
        timeout_s: float = STREAM_TIMEOUT_S,
    ) -> Response:
        """Call with the token and a stream of frames, which is begun anew for each attempt, and must be idempotent.

        Raises ParleyError, and the errors of `frames`.
        """
        return await self._call_with_token(
            lambda metadata: self._channel.call_with_frames(method, frames(), metadata, timeout_s)
        )

    async def collect(
        self, method: StreamMethod[Request, Response], request: Request, timeout_s: float = STREAM_TIMEOUT_S
    ) -> list[Response]:
        """Return all responses of one streaming call, which must be idempotent. Raises ParleyError."""
        return await self._call_with_token(lambda metadata: self._channel.collect(method, request, metadata, timeout_s))

    async def stream(
        self, method: StreamMethod[Request, Response], request: Request, timeout_s: float = STREAM_TIMEOUT_S
    ) -> AsyncGenerator[Response, None]:
        """Yield the responses of one streaming call, `timeout_s` seconds in all. Never retried. Raises ParleyError."""
        device_id = self._tokens.active_session.device_id
        metadata = auth_metadata(await self._tokens.access_token())
        try:
            async for response in method(self._channel)(request, metadata=metadata, timeout=timeout_s):
                yield response
        except grpc.aio.AioRpcError as cause:
            error = from_rpc(cause)
            if isinstance(error, SignedOut):
                await self._tokens.end_session(device_id, error)
            raise error from cause

    async def _call_with_token(
        self,
        attempt: Callable[[Metadata], Awaitable[Response]],
        is_repeatable: Callable[[ParleyError], object] = lambda _: True,
    ) -> Response:
        device_id = self._tokens.active_session.device_id
        try:
            return await self._retry(lambda: self._attempt_with_token(attempt), is_repeatable)
        except SignedOut as error:
            await self._tokens.end_session(device_id, error)
            raise

    async def _retry(
        self, attempt: Callable[[], Awaitable[Response]], is_repeatable: Callable[[ParleyError], object]
    ) -> Response:
        backoff, deadline = Backoff(), asyncio.get_running_loop().time() + self._retry_timeout_s
        while True:
            try:
                return await attempt()
            except ParleyError as error:
                delay = backoff.next(error.retry_after)
                expired = asyncio.get_running_loop().time() + delay > deadline
                if not error.retryable or not is_repeatable(error) or expired:
                    raise
            await asyncio.sleep(delay)

    async def _attempt_with_token(self, attempt: Callable[[Metadata], Awaitable[Response]]) -> Response:
        token = await self._tokens.access_token()
        try:
            return await attempt(auth_metadata(token))
        except SignedOut:
            raise
        except Unauthenticated as error:
            if error.reason == "CREDENTIALS_INVALID":
                raise
            # Envoy's token check sends no reason, so any refused token is renewed and retried once.
            session = await self._tokens.renew_token(token)
        return await attempt(auth_metadata(session.access_token))
