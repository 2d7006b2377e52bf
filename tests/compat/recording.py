"""A recording of a system at one commit: what servers told each other and stored, and what users were told."""

from __future__ import annotations

import lzma
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import bson

FOLDER: Final = Path(__file__).parent / "recordings"
SUFFIX: Final = ".bson.xz"


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of a call between two servers; `up` if the caller sent it."""

    up: bool
    data: bytes


@dataclass(slots=True)
class Exchange:
    """A call of a server of `service`: `/package.Service/Method`, and its messages in order."""

    service: str
    method: str
    frames: list[Frame] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """A call of a user: the full name of the request's type, the request, and the response."""

    user_id: str
    device_id: str
    request_type: str
    request: bytes
    response: bytes


@dataclass(slots=True)
class Recording:
    """All that was recorded at a `commit`.

    `options` and `documents` are those of MongoDB's collections, `keys` the dumps of Redis's keys, `objects` those of
    the S3 store, `members` the records of etcd. `events` are queued pushes, and `pushes` what was sent for them.
    """

    commit: str
    exchanges: list[Exchange] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, list[bytes]] = field(default_factory=dict)
    keys: list[tuple[bytes, bytes]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    members: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    pushes: list[dict[str, Any]] = field(default_factory=list)

    def save(self) -> Path:
        """Write the recording to the file of its commit, and return the path."""
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{self.commit}{SUFFIX}"
        path.write_bytes(lzma.compress(bson.encode(asdict(self))))
        return path

    def frames(self, method: str) -> list[Frame]:
        """Return the messages of all calls of a method."""
        return [frame for exchange in self.exchanges if exchange.method == method for frame in exchange.frames]


def load(path: Path) -> Recording:
    """Return the recording in a file."""
    stored = bson.decode(lzma.decompress(path.read_bytes()))
    exchanges = [
        Exchange(each["service"], each["method"], [Frame(frame["up"], frame["data"]) for frame in each["frames"]])
        for each in stored.pop("exchanges")
    ]
    answers = [Answer(**each) for each in stored.pop("answers")]
    keys = [(key, value) for key, value in stored.pop("keys")]
    return Recording(exchanges=exchanges, answers=answers, keys=keys, **stored)


def recordings() -> list[Path]:
    """Return the files of all recordings."""
    return sorted(FOLDER.glob(f"*{SUFFIX}"))
