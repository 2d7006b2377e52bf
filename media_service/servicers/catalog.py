"""MediaCatalogService: claims and lists of files, for the other services."""

from __future__ import annotations

from typing import Final

from media_service.claims import Claims
from media_service.model.media_store import MediaStore
from media_service.wire.media import encode_claimed, encode_media
from parley.internal.v1 import media_pb2
from servicekit.page_tokens import ID_POSITION, decode_page_token, next_page_token
from servicekit.rpc import Call

DEFAULT_FILES_PAGE: Final = 500


class MediaCatalogServicer:
    """Serves MediaCatalogService."""

    def __init__(self, claims: Claims, store: MediaStore) -> None:
        self._claims = claims
        self._store = store

    async def Claim(self, request: media_pb2.ClaimRequest, _: Call) -> media_pb2.ClaimResponse:
        """Keep files for a user who is about to refer to them."""
        results = await self._claims.claim(request.user_id, request.media_ids)
        return media_pb2.ClaimResponse(files=map(encode_claimed, results))

    async def ListOwnedMedia(
        self, request: media_pb2.ListOwnedMediaRequest, _: Call
    ) -> media_pb2.ListOwnedMediaResponse:
        """Return the files of a user, in order of id."""
        size, after = request.page_size or DEFAULT_FILES_PAGE, decode_page_token(request, ID_POSITION)
        found = await self._store.list_owned(request.user_id, after, size + 1)
        return media_pb2.ListOwnedMediaResponse(
            files=map(encode_media, found[:size]),
            next_page_token=next_page_token(request, found, size, lambda file: file.media_id),
        )
