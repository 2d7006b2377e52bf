"""Canary strings: the crowd's texts, names and secrets have them, and no log, trace or metric may contain one."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from devstack.local_http import fetch
from devstack.ports import LOOPBACK
from devstack.s3 import read_keys
from tests.faults.cluster import Cluster

# Words that occur nowhere else, and that the index of words keeps whole.
TEXT: Final = "canarytext5b1f0c"
TITLE: Final = "canarytitle5b1f0c"
CAPTION: Final = "canarycaption5b1f0c"
FILE_NAME: Final = "canaryfile5b1f0c"
DEVICE_NAME: Final = "canarydevice5b1f0c"
DISPLAY_NAME: Final = "canaryname5b1f0c"
PASSWORD: Final = "canarypassword5b1f0c"
WORDS: Final[Mapping[str, str]] = {
    "text": TEXT,
    "title": TITLE,
    "caption": CAPTION,
    "file name": FILE_NAME,
    "device name": DEVICE_NAME,
    "display name": DISPLAY_NAME,
    "password": PASSWORD,
}
# The end of a token is its signature, which alone makes it one.
TOKEN_CHARS: Final = 40


class Canaries:
    """The strings that must not be found: the canary words in every spelling, and secrets as they are."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {form: kind for kind, word in WORDS.items() for form in spellings(word)}

    def add_secret(self, kind: str, secret: str) -> None:
        """Add a secret of the run; of a long one the end."""
        if secret:
            self._forms[secret[-TOKEN_CHARS:].encode()] = kind

    def find(self, sources: Iterable[tuple[str, bytes]]) -> list[str]:
        """Return for each source, a name and its bytes, which canaries are in it, and the first place."""
        leaks = list[str]()
        for name, data in sources:
            found = dict[str, int]()
            for form, kind in self._forms.items():
                if (place := data.find(form)) >= 0:
                    found.setdefault(kind, place)
            leaks += [f"{kind} in {name}: {_line_at(data, place)}" for kind, place in found.items()]
        return leaks


def spellings(word: str) -> Iterator[bytes]:
    """Yield a word as it may stand in a log: as it is, in hex, and within base64, at each of three positions."""
    plain = word.encode()
    yield plain
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain + b"\0" * (-(before + len(plain)) % 3))
        # The characters at both ends also depend on the neighbours.
        yield encoded[4 if before else 0 : -4 if (before + len(plain)) % 3 else None]


def add_secrets(canaries: Canaries, cluster: Cluster, tokens: Iterable[str], push_tokens: Iterable[str]) -> None:
    """Add the secrets of a system, and the tokens of its users and their devices."""
    secrets = cluster.stack.layout.secrets
    canaries.add_secret("service credential", secrets.credential.read_text().strip())
    canaries.add_secret("signing key", secrets.signing_key.read_text().splitlines()[1])
    canaries.add_secret("key of S3", read_keys(secrets.s3_identities).secret_key)
    for token in tokens:
        canaries.add_secret("token", token)
    for token in push_tokens:
        canaries.add_secret("push token", token)


def read_sources(cluster: Cluster, exports: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the logs of all processes, the metrics of those that run, and the exported traces."""
    for log in sorted((cluster.stack.layout.folder / "logs").iterdir()):
        yield log.name, log.read_bytes()
    services = (*cluster.chat_servers, *cluster.media_servers, *cluster.presence_servers, *cluster.notify_servers)
    pages = {f"metrics of {each.name}": f"http://{each.metrics_address}/metrics" for each in services}
    pages["metrics of envoy"] = f"http://{LOOPBACK}:{cluster.stack.layout.ports.envoy_admin}/stats/prometheus"
    for name, address in pages.items():
        with suppress(OSError):
            yield name, fetch(address)
    yield "traces", b"\n".join(exports)


def _line_at(data: bytes, place: int) -> str:
    """Return the beginning of the line at a place, for people: to tell which line it is, and not what leaked."""
    begin = max(data.rfind(b"\n", 0, place) + 1, place - 300)
    return data[begin : min(begin + 200, place)].decode(errors="replace")
