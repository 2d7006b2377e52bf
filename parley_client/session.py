"""What a signed-in device keeps between runs: its session, and how far it has got."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from parley.chat.v1 import chat_pb2
from parley_client.watermarks import Mark


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in. `access_token_ends` is in seconds since 1970 by the server's clock."""

    user_id: str
    device_id: str
    login_name: str
    access_token: str
    access_token_ends: float
    refresh_token: str
    home: str = ""
    clock_offset: float = 0.0
    """Seconds by which the server's clock is ahead of the device's."""

    @classmethod
    def from_json(cls, kept: Any) -> Session:
        """As it was read from a file. TypeError: it is something else."""
        session = cls(**kept)
        for name, value in asdict(session).items():
            if not isinstance(value, int | float if name in ("access_token_ends", "clock_offset") else str):
                raise TypeError(f"{name} is something else")
        return session


@dataclass(slots=True)
class DeviceState:
    """Where a device stands: what its application has taken, and no further."""

    cursor: chat_pb2.Cursor | None = None
    last_seqs: dict[str, int] = field(default_factory=dict)
    unconfirmed: dict[str, Mark] = field(default_factory=dict)
    """Own watermarks (delivered, read) that the server has not confirmed."""

    def to_json(self) -> dict[str, Any]:
        """As it is written to a file."""
        cursor = [self.cursor.generation, self.cursor.time_ms] if self.cursor else None
        return {"cursor": cursor, "last_seqs": self.last_seqs, "unconfirmed": self.unconfirmed}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> DeviceState:
        """As it was read from a file."""
        cursor = kept.get("cursor")
        return cls(
            chat_pb2.Cursor(generation=cursor[0], time_ms=cursor[1]) if cursor else None,
            dict(kept.get("last_seqs", {})),
            {name: (mark[0], mark[1]) for name, mark in kept.get("unconfirmed", {}).items()},
        )


class DamagedFile(ValueError):
    """A store's file is not what was written to it; the text names the file, and says what to do."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} {what}")
        self.path = path


class SessionStore(Protocol):
    """Where a session is kept."""

    def load(self) -> Session | None:
        """The session; None: nobody is signed in."""

    def save(self, session: Session | None) -> None:
        """Keep a session, or forget it; the state of another device is forgotten with it."""

    def load_state(self) -> DeviceState:
        """Where the device stands; a new state if nothing is kept."""

    def save_state(self, state: DeviceState) -> None:
        """Keep where the device stands. Called from a thread."""

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Held while the tokens are renewed, so that no two programs use the same refresh token."""


class MemoryStore:
    """Forgets everything when the program ends."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._state: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    def load(self) -> Session | None:
        """The session."""
        return self._session

    def save(self, session: Session | None) -> None:
        """Keep a session, or forget it."""
        if _device(session) != _device(self._session):
            self._state = {}
        self._session = session

    def load_state(self) -> DeviceState:
        """Where the device stands."""
        return DeviceState.from_json(self._state)

    def save_state(self, state: DeviceState) -> None:
        """Keep where the device stands."""
        self._state = json.loads(json.dumps(state.to_json()))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """One at a time."""
        async with self._lock:
            yield


class FileStore:
    """A JSON file for the session (0600), and one beside it for the state; both are replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state_path = path.with_suffix(".state.json")

    def load(self) -> Session | None:
        """The session in the file; None: there is no file. Raises DamagedFile."""
        try:
            return Session.from_json(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise DamagedFile(self.path, "holds no session of Parley; remove it and sign in again") from error

    def save(self, session: Session | None) -> None:
        """Write the file, or remove it."""
        if _device(session) != _device(self.load()):
            self._state_path.unlink(missing_ok=True)
        if session is None:
            self.path.unlink(missing_ok=True)
        else:
            _replace(self.path, asdict(session))

    def load_state(self) -> DeviceState:
        """The state in the file beside it. Raises DamagedFile."""
        try:
            return DeviceState.from_json(json.loads(self._state_path.read_text()))
        except FileNotFoundError:
            return DeviceState()
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise DamagedFile(self._state_path, "holds no device's place; remove it to begin anew") from error

    def save_state(self, state: DeviceState) -> None:
        """Write the file beside it."""
        _replace(self._state_path, state.to_json())

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """One program at a time, by a lock on a third file."""
        lock = await asyncio.to_thread(_locked, self.path.with_suffix(".lock"))
        try:
            yield
        finally:
            os.close(lock)


def _device(session: Session | None) -> str | None:
    return session.device_id if session else None


def _locked(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _replace(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A draft of its own for each writer: two threads, or two programs, may write at once, and the last one counts.
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    Path(draft).replace(path)
