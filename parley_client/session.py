"""Storage of a device between runs: its session, and the state of its logs and receipts."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, Protocol

from parley.chat.v1 import chat_pb2
from parley_client.atomic_file import write_atomically
from parley_client.door import Door, Tls
from parley_client.watermarks import Watermark

# The fields of a session that are numbers.
_NUMBERS = ("access_token_ends", "clock_offset")


@dataclass(frozen=True, slots=True)
class Session:
    """The identity and tokens of a device. `access_token_ends` is in seconds since 1970 by the server's clock.

    The tokens are sent to no other door than `door`, which issued them. None: an earlier version stored the session;
    it belongs to the default door.
    """

    user_id: str
    device_id: str
    login_name: str
    access_token: str = field(repr=False)
    access_token_ends: float
    refresh_token: str = field(repr=False)
    home: str = ""
    clock_offset: float = 0.0
    """Seconds by which the server's clock is ahead of the device's."""
    door: Door | None = None

    @property
    def bound_door(self) -> Door:
        """The door to which the tokens may be sent."""
        return self.door or Door()

    def belongs_to(self, door: Door) -> bool:
        """Return True if the tokens may be sent to `door`: the same address, and not without TLS if it had TLS."""
        return self.bound_door.address == door.address and (self.bound_door.tls is None or door.tls is not None)

    def to_json(self) -> dict[str, Any]:
        """Convert to the JSON of a file."""
        fields = {each.name: getattr(self, each.name) for each in dataclass_fields(self)}
        return {**fields, "door": _door_to_json(self.door) if self.door else None}

    @classmethod
    def from_json(cls, stored: Any) -> Session:
        """Convert the JSON of a file. Raises TypeError if a field is missing, unknown or of a wrong type."""
        session = cls(**stored)
        for name in (each.name for each in dataclass_fields(session) if each.name != "door"):
            if not isinstance(getattr(session, name), int | float if name in _NUMBERS else str):
                raise TypeError(f"{name} has the wrong type")
        return replace(session, door=_door_from_json(session.door))


@dataclass(slots=True)
class DeviceState:
    """The progress of a device: the checkpoints of the events that its application has processed."""

    cursor: chat_pb2.Cursor | None = None
    last_seqs: dict[str, int] = field(default_factory=dict)
    unconfirmed: dict[str, Watermark] = field(default_factory=dict)
    """The user's own watermarks that the server has not confirmed, by conversation."""

    def to_json(self) -> dict[str, Any]:
        """Convert to the JSON of a file."""
        cursor = [self.cursor.generation, self.cursor.time_ms] if self.cursor else None
        return {"cursor": cursor, "last_seqs": self.last_seqs, "unconfirmed": self.unconfirmed}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> DeviceState:
        """Convert the JSON of a file."""
        cursor = stored.get("cursor")
        return cls(
            chat_pb2.Cursor(generation=cursor[0], time_ms=cursor[1]) if cursor else None,
            dict(stored.get("last_seqs", {})),
            {name: (pair[0], pair[1]) for name, pair in stored.get("unconfirmed", {}).items()},
        )


class DamagedFile(ValueError):
    """A file of a FileStore cannot be read; the message names the file and the remedy."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path = path


class SessionStore(Protocol):
    """The store of one device's session and state."""

    def load(self) -> Session | None:
        """Return the session, or None if no user is signed in."""

    def save(self, session: Session | None) -> None:
        """Store a session, or remove it if None; the state of any other device is removed too."""

    def load_state(self) -> DeviceState:
        """Return the stored state, or an empty one."""

    def save_state(self, state: DeviceState) -> None:
        """Store the state. Called from a thread."""

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Return a lock to hold during a token renewal: a refresh token may be used only once."""


class MemoryStore:
    """A SessionStore in memory."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._state: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    def load(self) -> Session | None:
        """Return the session."""
        return self._session

    def save(self, session: Session | None) -> None:
        """Store a session, or remove it if None."""
        if _device_id(session) != _device_id(self._session):
            self._state = {}
        self._session = session

    def load_state(self) -> DeviceState:
        """Return the state."""
        return DeviceState.from_json(self._state)

    def save_state(self, state: DeviceState) -> None:
        """Store a copy of the state."""
        self._state = json.loads(json.dumps(state.to_json()))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the store's lock."""
        async with self._lock:
            yield


class FileStore:
    """A SessionStore of two JSON files (mode 0600), for session and state, which are replaced atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state_path = path.with_suffix(".state.json")
        self.uploads_path = path.with_suffix(".uploads")
        """The file of the unfinished uploads, beside those of the session."""

    def load(self) -> Session | None:
        """Return the session, or None if there is no file. Raises DamagedFile."""
        try:
            return Session.from_json(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, LookupError) as error:
            raise DamagedFile(self.path, "holds no session of Parley; remove it and sign in again") from error

    def save(self, session: Session | None) -> None:
        """Write the session's file, or remove it if None."""
        if _device_id(session) != _device_id(self.load()):
            self._state_path.unlink(missing_ok=True)
        if session is None:
            self.uploads_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        else:
            write_atomically(self.path, session.to_json())

    def load_state(self) -> DeviceState:
        """Return the state, or an empty one if there is no file. Raises DamagedFile."""
        try:
            return DeviceState.from_json(json.loads(self._state_path.read_text()))
        except FileNotFoundError:
            return DeviceState()
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise DamagedFile(self._state_path, "holds no device state; remove it to start over") from error

    def save_state(self, state: DeviceState) -> None:
        """Write the state's file."""
        write_atomically(self._state_path, state.to_json())

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold a lock across programs, on a third file."""
        lock = await asyncio.to_thread(_lock_file, self.path.with_suffix(".lock"))
        try:
            yield
        finally:
            os.close(lock)


def _device_id(session: Session | None) -> str | None:
    return session.device_id if session else None


def _door_to_json(door: Door) -> dict[str, Any]:
    tls = None
    if door.tls is not None:
        certificates = door.tls.root_certificates
        # Latin-1 keeps every byte of a PEM file, whatever the encoding of its comments.
        tls = {
            "root_certificates": None if certificates is None else certificates.decode("latin-1"),
            "server_name": door.tls.server_name,
        }
    return {"address": door.address, "tls": tls}


def _door_from_json(stored: Any) -> Door | None:
    """Convert the JSON of a file. Raises TypeError or LookupError."""
    if stored is None:
        return None
    address, tls = stored["address"], stored["tls"]
    certificates, server_name = (tls["root_certificates"], tls["server_name"]) if tls is not None else (None, None)
    if not isinstance(address, str) or not all(
        each is None or isinstance(each, str) for each in (certificates, server_name)
    ):
        raise TypeError("door has the wrong type")
    if tls is None:
        return Door(address)
    return Door(address, Tls(certificates.encode("latin-1") if certificates is not None else None, server_name))


def _lock_file(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
