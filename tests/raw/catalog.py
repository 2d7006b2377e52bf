"""The catalog of the media service, served by a test with the files that it names, for tests of chat alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from google.protobuf.timestamp_pb2 import Timestamp

from devstack.stack import Stack
from parley.internal.v1 import media_pb2 as catalog_pb2
from parley.media.v1 import media_pb2
from servicekit.auth import ServiceCredential
from servicekit.etcd import Etcd
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.ring import RingMember
from servicekit.rpc import Call, service_handler
from servicekit.server import Server
from servicekit.status import to_proto
from tests.raw.device import RawDevice

# By stack: the port of its catalog. It stays, because servers keep the address of one that left for some seconds.
_ports: dict[str, int] = {}
CATALOG = catalog_pb2.DESCRIPTOR.services_by_name["MediaCatalogService"]


class CatalogServer:
    """A server of MediaCatalogService. Claims wait until `claiming` is set, and fail with `failure` if that is set."""

    def __init__(self) -> None:
        self.claiming = asyncio.Event()
        self.claiming.set()
        self.claims: list[catalog_pb2.ClaimRequest] = []
        # True if a file that the test has not added is one that every user may see.
        self.open = False
        self.page_size = 500
        self.failure: Exception | None = None
        self._files: dict[str, media_pb2.Media] = {}
        self._viewers: dict[str, set[str]] = {}
        self._refusals: dict[str, Failure] = {}

    def add(self, owner: RawDevice, *viewers: RawDevice, **facts: object) -> str:
        """Add a file, by default a picture, that its owner and the viewers may see; return its id."""
        media_id = self.add_file(owner.user_id, **facts)
        self._viewers[media_id] |= {viewer.user_id for viewer in viewers}
        return media_id

    def add_file(self, owner_id: str, **facts: object) -> str:
        """Add a file, by default a picture, that its owner may see; return its id."""
        media_id = uuid.uuid4().hex
        self._files[media_id] = _media(media_id, owner_id, **facts)
        self._viewers[media_id] = {owner_id}
        return media_id

    def refuse(self, media_id: str, failure: Failure | None = None) -> None:
        """Refuse claims of a file from now on, by default because it is removed."""
        self._refusals[media_id] = failure or _not_found()

    def admit(self, media_id: str) -> None:
        """Grant claims of a file again."""
        del self._refusals[media_id]

    async def Claim(self, request: catalog_pb2.ClaimRequest, _: Call) -> catalog_pb2.ClaimResponse:
        self.claims.append(request)
        await self.claiming.wait()
        if self.failure is not None:
            raise self.failure
        files = [self._claim(request.user_id, media_id) for media_id in request.media_ids]
        return catalog_pb2.ClaimResponse(files=files)

    def _claim(self, user_id: str, media_id: str) -> catalog_pb2.ClaimedMedia:
        if (refusal := self._refusals.get(media_id)) is not None:
            return catalog_pb2.ClaimedMedia(refused=to_proto(refusal))
        if self.open and media_id not in self._files:
            return catalog_pb2.ClaimedMedia(media=_media(media_id, user_id))
        if user_id not in self._viewers.get(media_id, ()):
            return catalog_pb2.ClaimedMedia(refused=to_proto(_not_found()))
        return catalog_pb2.ClaimedMedia(media=self._files[media_id])

    async def ListOwnedMedia(
        self, request: catalog_pb2.ListOwnedMediaRequest, _: Call
    ) -> catalog_pb2.ListOwnedMediaResponse:
        owned = sorted(
            media_id
            for media_id, media in self._files.items()
            if media.owner_id == request.user_id and media_id > request.page_token
        )
        page = owned[: self.page_size]
        return catalog_pb2.ListOwnedMediaResponse(
            files=[self._files[media_id] for media_id in page],
            next_page_token=page[-1] if len(owned) > len(page) else "",
        )


@asynccontextmanager
async def serve_catalog(stack: Stack) -> AsyncIterator[CatalogServer]:
    """Serve the catalog of a stack that runs no media service, and register it as one."""
    credential = ServiceCredential.from_file(stack.layout.secrets.credential)
    async with Etcd([stack.etcd_endpoint]) as etcd, register_catalog(etcd, credential, stack.door) as catalog:
        yield catalog


@asynccontextmanager
async def register_catalog(etcd: Etcd, credential: ServiceCredential, system: str) -> AsyncIterator[CatalogServer]:
    """Serve a catalog and register it as the media service; its port is the same for each catalog of the `system`."""
    catalog = CatalogServer()
    handler = service_handler(CATALOG, catalog, authenticate=credential.check)
    server = Server(f"127.0.0.1:{_ports.get(system, 0)}", [handler], [CATALOG.full_name])
    _ports[system] = await server.start()
    address = f"127.0.0.1:{_ports[system]}"
    membership = Membership(etcd, RingMember(address, "", address, 1), service="media")
    registration = asyncio.create_task(membership.run())
    try:
        await membership.wait_registered()
        yield catalog
    finally:
        registration.cancel()
        await asyncio.wait([registration])
        await server.stop(0)


def _media(media_id: str, owner_id: str, **facts: object) -> media_pb2.Media:
    make: Callable[..., media_pb2.Media] = media_pb2.Media
    picture = {"kind": media_pb2.MEDIA_KIND_IMAGE, "content_type": "image/png", "size_bytes": 1000}
    return make(
        media_id=media_id,
        owner_id=owner_id,
        state=media_pb2.MEDIA_STATE_READY,
        create_time=Timestamp(seconds=1),
        **{**picture, **facts},
    )


def _not_found() -> Failure:
    return Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND")
