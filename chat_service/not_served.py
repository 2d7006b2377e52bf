"""The services of the protos that are not served yet: a list that only shrinks."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from parley.media.v1 import media_pb2
from parley.notify.v1 import notify_pb2
from parley.presence.v1 import presence_pb2
from servicekit.rpc import Authenticate, service_handler

# The chat servers answer calls of these services with NOT_YET_SERVED until a server of their own exists.
UNSERVED_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    presence_pb2.DESCRIPTOR.services_by_name["PresenceService"],
    media_pb2.DESCRIPTOR.services_by_name["MediaService"],
    notify_pb2.DESCRIPTOR.services_by_name["NotifyService"],
)


def not_yet_served() -> set[str]:
    """Return the methods that are not served, as `Service.Method`."""
    return {f"{service.name}.{method.name}" for service in UNSERVED_SERVICES for method in service.methods}


def handlers(authenticate: Authenticate) -> list[grpc.GenericRpcHandler]:
    """Return the handlers that answer calls of the unserved services with NOT_YET_SERVED."""
    return [
        service_handler(
            service,
            object(),
            authenticate=authenticate,
            not_yet_served={method.name for method in service.methods},
        )
        for service in UNSERVED_SERVICES
    ]
