"""The table of services: the processes of each, and the part of the contract that it serves.

Processes, ports, Envoy's clusters and routes, and the reflection of a stack are derived from the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from google.protobuf.descriptor import ServiceDescriptor

from devstack.contract import services_in
from devstack.options import CHAT_SERVERS, MAX_CHAT_SERVERS
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.media.v1 import media_pb2
from parley.notify.v1 import notify_pb2
from parley.presence.v1 import presence_pb2


@dataclass(frozen=True, slots=True)
class ServiceType:
    """A kind of service, of which a stack runs `replicas` processes, named `<name>-1`, `<name>-2` and so on.

    `python -m <module>` starts a replica, and `description` is its row in the output of `make run`. `contract` are the
    proto services that it serves to clients; Envoy routes their packages to it. Envoy admits calls of `open_methods`
    (`/package.Service/Method`) without a token; the service lists them as well, in its `ServedService`. With
    `takes_home_hint` a client may name the replica that serves it, in the header `x-chat-server`. Only a service that
    `signs_users_in` has the key that signs tokens, and only one that `uses_s3` the keys of the S3 store. One that
    `sends_pushes` records them in a file.
    """

    name: str
    module: str
    description: str
    contract: tuple[ServiceDescriptor, ...]
    replicas: int = 1
    max_replicas: int = 10
    open_methods: tuple[str, ...] = ()
    takes_home_hint: bool = False
    signs_users_in: bool = False
    uses_s3: bool = False
    sends_pushes: bool = False


Services: TypeAlias = tuple[ServiceType, ...]
"""A table of services, in the order in which a stack starts them."""

CHAT: Final = ServiceType(
    name="chat",
    module="chat_service",
    description="a chat server",
    contract=services_in(chat_pb2, conversation_pb2, account_pb2),
    replicas=CHAT_SERVERS,
    max_replicas=MAX_CHAT_SERVERS,
    open_methods=(
        "/parley.chat.v1.AccountService/Register",
        "/parley.chat.v1.AccountService/Login",
        "/parley.chat.v1.AccountService/RefreshToken",
    ),
    takes_home_hint=True,
    signs_users_in=True,
)

MEDIA: Final = ServiceType(
    name="media",
    module="media_service",
    description="a media server",
    contract=services_in(media_pb2),
    uses_s3=True,
)

PRESENCE: Final = ServiceType(
    name="presence",
    module="presence_service",
    description="a presence server",
    contract=services_in(presence_pb2),
    replicas=2,
)

NOTIFY: Final = ServiceType(
    name="notify",
    module="notify_service",
    description="a notify server",
    contract=services_in(notify_pb2),
    replicas=2,
    sends_pushes=True,
)

SERVICES: Final[Services] = (CHAT, MEDIA, PRESENCE, NOTIFY)
"""The services of the product."""

OPTIONAL: Final = ("media", "presence", "notify")
"""The services without which chat runs; a setting of the others says whether a deployment has them."""


def with_replicas(services: Services, name: str, replicas: int) -> Services:
    """Return the table with another number of replicas of one service."""
    return tuple(replace(each, replicas=replicas) if each.name == name else each for each in services)


def without_s3(services: Services) -> Services:
    """Return the table without the services that need an S3 store."""
    return tuple(each for each in services if not each.uses_s3)


def find_service(services: Sequence[ServiceType], name: str) -> ServiceType:
    """Return the service of that name. Raise KeyError if the table has none."""
    for each in services:
        if each.name == name:
            return each
    raise KeyError(name)
