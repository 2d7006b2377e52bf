"""The gRPC services and the loops of a media server, assembled from its stores and channels."""

from __future__ import annotations

import contextlib
from typing import Final

from media_service.access import DeviceAdmission, MediaAccess
from media_service.claims import Claims
from media_service.collection.collector import Collector
from media_service.collection.scanner import Scanner
from media_service.downloads import Downloads
from media_service.model.media_store import MediaStore
from media_service.model.object_store import ObjectStore
from media_service.processing.inspection import FileInspector
from media_service.processing.worker_pool import WorkerPool
from media_service.servicers.catalog import MediaCatalogServicer
from media_service.servicers.media import MediaDependencies, MediaServicer
from media_service.settings import MediaSettings
from media_service.uploads.completion import Completion
from media_service.uploads.uploads import Uploads
from media_service.wire.directory import DirectoryClient
from parley.internal.v1 import media_pb2 as catalog_pb2
from parley.media.v1 import media_pb2
from servicekit.clock import Clock
from servicekit.rate_limiter import MAX_DEVICES, RateLimiter
from servicekit.service import ServedService, Service

MEDIA: Final = media_pb2.DESCRIPTOR.services_by_name["MediaService"]
CATALOG: Final = catalog_pb2.DESCRIPTOR.services_by_name["MediaCatalogService"]
