"""The catalog of files at the media service, and the one of a deployment that runs no media service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from chat_service.model.media import ClaimOutcome
from chat_service.wire.media import decode_claims
from parley.internal.v1.media_pb2 import ClaimRequest, ListOwnedMediaRequest, ListOwnedMediaResponse
from parley.internal.v1.media_pb2_grpc import MediaCatalogServiceStub
from servicekit.clock import Clock
from servicekit.errors import ServiceUnavailable
from servicekit.failure import Failure

# Short, because a device waits for it, and so do its later sends to the same conversation.
CLAIM_TIMEOUT_S: Final = 3.0
# After a claim that no server answered, the next ones fail at once for this time.
SUSPENSION_S: Final = 1.0
# An export is patient: an outage of the store of the media service is reported as such.
LIST_TIMEOUT_S: Final = 12.0


class MediaCatalogClient:
    """The catalog that any server of the media service answers for."""

    def __init__(self, stub: MediaCatalogServiceStub, clock: Clock) -> None:
        self._stub = stub
        self._clock = clock
        self._suspended_until = float("-inf")

    async def claim(self, user_id: str, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        """Return the outcome for each of the files, at most 100, within CLAIM_TIMEOUT_S."""
        if self._clock.monotonic() < self._suspended_until:
            return dict.fromkeys(media_ids, ServiceUnavailable("the media service does not answer"))
        request = ClaimRequest(user_id=user_id, media_ids=media_ids)
        try:
            return decode_claims(media_ids, await self._stub.Claim(request, timeout=CLAIM_TIMEOUT_S))
        except ServiceUnavailable as failure:
            self._suspended_until = self._clock.monotonic() + SUSPENSION_S
            return dict.fromkeys(media_ids, failure)
        except Failure as failure:
            return dict.fromkeys(media_ids, failure)

    async def list_owned(self, user_id: str, page_token: str) -> ListOwnedMediaResponse:
        """Return a page of the files that a user uploaded. Raise StoreUnavailable, ServiceUnavailable."""
        request = ListOwnedMediaRequest(user_id=user_id, page_token=page_token)
        return await self._stub.ListOwnedMedia(request, timeout=LIST_TIMEOUT_S)


class EmptyMediaCatalog:
    """The catalog of a deployment without a media service: nobody has uploaded anything, and nobody can."""

    async def claim(self, _: str, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        """Return the same failure for each of the files."""
        return dict.fromkeys(media_ids, ServiceUnavailable("this deployment runs no media service"))

    async def list_owned(self, _: str, __: str) -> ListOwnedMediaResponse:
        """Return a page without files."""
        return ListOwnedMediaResponse()


Catalog = MediaCatalogClient | EmptyMediaCatalog
