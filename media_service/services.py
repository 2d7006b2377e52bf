"""A media server, assembled from its stores: its gRPC services and its loops."""

from __future__ import annotations

from typing import Final

from media_service.access import MediaAccess
from media_service.claims import Claims
from media_service.collection.collector import Collector
from media_service.collection.scan_job import ScanJob
from media_service.collection.scanner import Scanner
from media_service.downloads import Downloads
from media_service.model.directory import Directory
from media_service.model.media_store import MediaStore
from media_service.processing.inspection import FileInspector
from media_service.processing.worker_pool import WorkerPool
from media_service.servicers.catalog import MediaCatalogServicer
from media_service.servicers.media import MediaDependencies, MediaServicer
from media_service.settings import MediaSettings
from media_service.storage.s3 import S3ObjectStore
from media_service.uploads.completion import Completion
from media_service.uploads.uploads import Uploads
from parley.internal.v1 import media_pb2 as catalog_pb2
from parley.media.v1 import media_pb2
from servicekit.admission import DeviceAdmission
from servicekit.clock import Clock
from servicekit.rate_limiter import MAX_DEVICES, RateLimiter
from servicekit.service import ServedService, Service

MEDIA: Final = media_pb2.DESCRIPTOR.services_by_name["MediaService"]
CATALOG: Final = catalog_pb2.DESCRIPTOR.services_by_name["MediaCatalogService"]


def media_services(
    settings: MediaSettings,
    store: MediaStore,
    objects: S3ObjectStore,
    directory: Directory,
    workers: WorkerPool,
    scanner: Scanner | None,
    clock: Clock,
) -> Service:
    """Return the services of a media server and its loops."""
    access = MediaAccess(store, directory, clock)
    # The devices of another issuer are not known before they connect to chat.
    admission = DeviceAdmission(directory.is_signed_in, clock) if settings.sign_in_here else None
    inspector = FileInspector(
        objects, workers, types=settings.media_types, remove_metadata=settings.media_remove_metadata
    )
    completion = Completion(
        store,
        objects,
        inspector,
        clock,
        scan=scanner is not None,
        unreferenced_s=settings.media_unreferenced_seconds,
        lease_s=settings.media_lease_seconds,
    )
    collector = Collector(store, objects, directory, clock, settings.collection_times)
    scans = ScanJob(store, scanner, clock, settings.collection_times)
    claims = Claims(store, directory, clock, settings.media_claim_seconds)
    servicer = MediaServicer(
        MediaDependencies(
            access,
            admission,
            Uploads(store, objects, access, settings.upload_limits, clock),
            completion,
            Downloads(
                access,
                objects,
                clock,
                range_bytes=settings.media_upload_bytes,
                url_lifetime_s=settings.media_url_seconds,
            ),
            objects,
            RateLimiter(settings.upload_rate, clock, MAX_DEVICES),
            clock,
        )
    )
    return Service(
        public=[ServedService(MEDIA, servicer)],
        internal=[ServedService(CATALOG, MediaCatalogServicer(claims, store), allowed_callers=["chat"])],
        admit=admission.admit if admission is not None else None,
        components=[objects.run, workers.run, completion.run],
        jobs=[collector.run, scans.run],
        health_parts=[objects.health],
    )
