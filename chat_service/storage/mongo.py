"""The way to MongoDB: how it is connected, how long it may take, and what its silence is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
import structlog
from prometheus_client import Gauge
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from pymongo.errors import ConfigurationError as UriError
from pymongo.monitoring import (
    TopologyClosedEvent,
    TopologyDescriptionChangedEvent,
    TopologyListener,
    TopologyOpenedEvent,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from chat_service.errors import StoreUnavailable as StoreUnavailable
from servicekit.config import ConfigurationError

Document = dict[str, Any]
Database = AsyncDatabase[Document]

# Seconds an operation may take, the driver's retries included: long enough for an election.
OPERATION_TIMEOUT_S = 5.0
# Seconds after which a server that cannot be found is given up on.
SELECTION_TIMEOUT_S = 5.0

NAMESPACE_EXISTS = 48
DUPLICATE_KEY = 11000
# What a server says around elections, restarts and long outages: ask again, perhaps another one.
UNAVAILABLE_CODES = frozenset(
    {6, 7, 63, 89, 91, 133, 134, 150, 189, 211, 234, 246, 262, 280, 286, 9001, 10107, 11600, 11602, 13435, 13436}
)
TRANSIENT_LABELS = ("RetryableWriteError", "TransientTransactionError", "SystemOverloadedError")


async def connect(uri: str, database: str, *, timeout_s: float = SELECTION_TIMEOUT_S) -> Database:
    """The database, once it has answered; writes on a majority and journaled, reads of what a majority has.

    `await database.client.close()` ends it. Raises ConfigurationError for a URI that makes no sense and
    StoreUnavailable when nothing answers within `timeout` seconds.
    """
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            uri,
            appname="parley-chat",
            tz_aware=True,
            serverSelectionTimeoutMS=round(SELECTION_TIMEOUT_S * 1000),
            connectTimeoutMS=round(SELECTION_TIMEOUT_S * 1000),
            event_listeners=[PrimaryWatch()],
        )
    except (UriError, ValueError) as error:
        raise ConfigurationError(f"The MongoDB URI cannot be used: {error}.") from error
    try:
        with store_errors(timeout_s):
            await client.admin.command("ping")
    except BaseException:
        await client.close()
        raise
    return client.get_database(
        database,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority"),
    )


async def ensure_clustered(database: Database, name: str) -> None:
    """Make a collection that is clustered by `_id`, unless it is there; several servers may do so at once."""
    try:
        await database.create_collection(name, clusteredIndex={"key": {"_id": 1}, "unique": True})
    except CollectionInvalid:
        return
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise


@contextmanager
def store_errors(timeout_s: float | None = OPERATION_TIMEOUT_S) -> Iterator[None]:
    """Bounds what is inside to `deadline` seconds (None: no bound), and calls silence StoreUnavailable.

    Answers that mean something (a duplicate key, a refused document, missing rights) pass as they are.
    """
    try:
        with pymongo.timeout(timeout_s):
            yield
    except PyMongoError as error:
        if is_unavailable(error):
            raise StoreUnavailable("the database does not answer") from error
        raise


def is_unavailable(error: PyMongoError) -> bool:
    """Whether `error` says that the store could not be reached or could not be sure, rather than no."""
    if isinstance(error, BulkWriteError):
        # Without one that was refused: written, but not known to be on a majority.
        refused = (error.details or {}).get("writeErrors") or [{"code": error.code}]
        return bool(refused[0]["code"] != DUPLICATE_KEY)
    return (
        (isinstance(error, OperationFailure) and error.code in UNAVAILABLE_CODES)
        or isinstance(error, ConnectionFailure | WriteConcernError)
        or error.timeout
        or any(error.has_error_label(label) for label in TRANSIENT_LABELS)
    )


_writable = Gauge("parley_store_writable", "1 while MongoDB has a primary that this server knows of, else 0")

log = structlog.get_logger("storage")


class PrimaryWatch(TopologyListener):
    """A line and a gauge whenever the last primary is lost, and when there is one again."""

    def __init__(self) -> None:
        self._lost = False

    def opened(self, event: TopologyOpenedEvent) -> None:
        """Nothing is known yet."""

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """What the driver has learned of the servers."""
        writable = event.new_description.has_writable_server()
        had = event.previous_description.has_writable_server()
        _writable.set(writable)
        if had and not writable:
            self._lost = True
            log.warning("MongoDB has no primary")
        elif writable and self._lost:
            self._lost = False
            log.info("MongoDB has a primary again")

    def closed(self, event: TopologyClosedEvent) -> None:
        """The client is closed."""
