"""What stands in the contract and is not served yet: one list, which only shrinks."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from parley.media.v1 import media_pb2
from parley.notify.v1 import notify_pb2
from parley.presence.v1 import presence_pb2
from servicekit.rpc import Authenticate, service_handler

# Services of their own, whose calls the chat servers refuse with a reason until there is somebody to serve them.
UNSERVED_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    presence_pb2.DESCRIPTOR.services_by_name["PresenceService"],
    media_pb2.DESCRIPTOR.services_by_name["MediaService"],
    notify_pb2.DESCRIPTOR.services_by_name["NotifyService"],
)


def not_yet_served() -> set[str]:
    """All of it, as `Service.Method`."""
    return {f"{service.name}.{method.name}" for service in UNSERVED_SERVICES for method in service.methods}


def handlers(authenticate: Authenticate) -> list[grpc.GenericRpcHandler]:
    """What answers for services that nobody serves yet."""
    return [
        service_handler(
            service,
            object(),
            authenticate=authenticate,
            not_yet_served={method.name for method in service.methods},
        )
        for service in UNSERVED_SERVICES
    ]
