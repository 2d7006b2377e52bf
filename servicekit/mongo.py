"""The connection to MongoDB: its concerns and time limits, and the mapping of its errors to StoreUnavailable."""

from __future__ import annotations

import re
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

from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable

Document = dict[str, Any]
Database = AsyncDatabase[Document]

# The time limit of an operation with the driver's retries; long enough for an election.
OPERATION_TIMEOUT_S = 5.0
# The time limit of server selection and of connecting.
SELECTION_TIMEOUT_S = 5.0

UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
NAMESPACE_EXISTS = 48
DUPLICATE_KEY = 11000
# Error codes of servers around elections, restarts and long outages; the operation can be retried.
UNAVAILABLE_CODES = frozenset(
    {6, 7, 63, 89, 91, 133, 134, 150, 189, 211, 234, 246, 262, 280, 286, 9001, 10107, 11600, 11602, 13435, 13436}
)
_CERTIFICATE_REFUSED = "certificate verify failed: "
TRANSIENT_LABELS = ("RetryableWriteError", "TransientTransactionError", "SystemOverloadedError")


async def connect(
    uri: str, database: str, *, service: str = "parley", timeout_s: float = SELECTION_TIMEOUT_S
) -> Database:
    """Connect, and return the database, with majority writes that are journaled and majority reads.

    `service` is the name of the client in the logs of MongoDB. Close it with `await database.client.close()`. Raises
    ConfigurationError if the URI is invalid or MongoDB refuses it, and StoreUnavailable if no server answers a ping
    within `timeout_s` seconds; its cause is the error of the driver.
    """
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            uri,
            appname=service,
            tz_aware=True,
            serverSelectionTimeoutMS=round(SELECTION_TIMEOUT_S * 1000),
            connectTimeoutMS=round(SELECTION_TIMEOUT_S * 1000),
            event_listeners=[PrimaryWatch()],
        )
    except (UriError, ValueError, OSError) as error:
        raise ConfigurationError(f"The MongoDB URI is invalid: {error}.") from error
    try:
        with store_errors(timeout_s):
            await client.admin.command("ping")
    except (StoreUnavailable, OperationFailure) as error:
        await client.close()
        if refusal := describe_refusal(error):
            raise ConfigurationError(refusal) from None
        raise
    except BaseException:
        await client.close()
        raise
    return client.get_database(
        database,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority"),
    )


def describe_refusal(error: Exception) -> str | None:
    """Return what the operator must mend, as a sentence, if MongoDB refuses this client or the client MongoDB."""
    code = error.code if isinstance(error, OperationFailure) else None
    if code == AUTHENTICATION_FAILED:
        return "MongoDB refuses the user or the password in PARLEY_MONGO_URI."
    if code == UNAUTHORIZED:
        # The text has the whole command.
        command = re.search(r'command \{ (\w+): "?(\w+)', str(error))
        refused = f" {command[1]} of {command[2]}" if command else ""
        return f"MongoDB refuses{refused} to the user in PARLEY_MONGO_URI; docs/stores.md lists the rights."
    if _CERTIFICATE_REFUSED in (text := str(error.__cause__)):
        reason = text.partition(_CERTIFICATE_REFUSED)[2].partition(" (_ssl")[0]
        return f"The certificate of MongoDB is refused: {reason}. PARLEY_MONGO_URI names its authority by tlsCAFile."
    return None


async def ensure_clustered(database: Database, name: str) -> None:
    """Create a collection clustered by `_id` unless it exists; several servers may call this concurrently."""
    try:
        # Without a check by the driver, which needs the right to list collections.
        await database.create_collection(name, check_exists=False, clusteredIndex={"key": {"_id": 1}, "unique": True})
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise


@contextmanager
def store_errors(timeout_s: float | None = OPERATION_TIMEOUT_S) -> Iterator[None]:
    """Limit the block to `timeout_s` seconds (None: no limit), and raise StoreUnavailable if the outcome is unknown.

    Other errors (a duplicate key, a refused document, missing rights) are raised unchanged.
    """
    try:
        with pymongo.timeout(timeout_s):
            yield
    except PyMongoError as error:
        if is_unavailable(error):
            raise StoreUnavailable("the database does not answer") from error
        raise


@contextmanager
def index_builds() -> Iterator[None]:
    """Raise as `store_errors` does, without a limit of time: it takes hours to build the index of a large collection.

    MongoDB aborts a build when the time limit of its client is over, and goes on with it when the client leaves.
    """
    with store_errors(timeout_s=None):
        yield


def is_unavailable(error: PyMongoError) -> bool:
    """Return True if the store could not be reached or could not confirm the outcome; False if it refused."""
    if isinstance(error, BulkWriteError):
        # Without write errors, the write concern failed: written, but perhaps not on a majority.
        write_errors = (error.details or {}).get("writeErrors") or [{"code": error.code}]
        return bool(write_errors[0]["code"] != DUPLICATE_KEY)
    return (
        (isinstance(error, OperationFailure) and error.code in UNAVAILABLE_CODES)
        or isinstance(error, ConnectionFailure | WriteConcernError)
        or error.timeout
        or any(error.has_error_label(label) for label in TRANSIENT_LABELS)
    )


_writable = Gauge("parley_store_writable", "1 while this server knows a primary of MongoDB, else 0")

log = structlog.get_logger("store.mongo")


class PrimaryWatch(TopologyListener):
    """Logs and measures the loss of the primary and its return."""

    def __init__(self) -> None:
        self._lost = False

    def opened(self, event: TopologyOpenedEvent) -> None:
        """Do nothing: no server is known yet."""

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """Set the gauge, and log a primary that was lost or found again; a client that was closed has not lost it."""
        if not event.new_description.server_descriptions():
            return
        writable = event.new_description.has_writable_server()
        was_writable = event.previous_description.has_writable_server()
        _writable.set(writable)
        if was_writable and not writable:
            self._lost = True
            log.warning("MongoDB primary lost")
        elif writable and self._lost:
            self._lost = False
            log.info("MongoDB primary found again")

    def closed(self, event: TopologyClosedEvent) -> None:
        """Do nothing."""
