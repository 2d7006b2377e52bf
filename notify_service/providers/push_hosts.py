"""The push services to which subscriptions of users may lead: an address comes from a user, and the server calls it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import httpx2

from servicekit.config import ConfigurationError

DEFAULT_HOSTS: Final = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""The push services of the browsers: Chrome and its kin, Firefox, Safari, and Edge."""

_HTTPS_PORT: Final = 443
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?"
# The last label is no number: neither an IP address nor one of its other spellings is a name.
_NAME: Final = rf"(?:{_LABEL}\.)*(?!0x)[a-z](?:[a-z0-9-]*[a-z0-9])?"
_PATTERN: Final = re.compile(rf"(\*\.)?({_NAME})(?::(\d{{1,5}}))?")


class PushHosts:
    """A list of allowed hosts.

    Each is a name, or `*.` and a suffix, which any name below the suffix matches; `:port` may follow, the default is
    443. Raise ConfigurationError for other forms, and so for IP addresses.
    """

    def __init__(self, hosts: Collection[str] = DEFAULT_HOSTS) -> None:
        self._names: set[tuple[str, int]] = set()
        self._suffixes: set[tuple[str, int]] = set()
        for host in hosts:
            match = _PATTERN.fullmatch(host.lower())
            if match is None:
                raise ConfigurationError(
                    f"{host!r} cannot be an allowed host of Web Push: it must be a name such as push.example.com, or "
                    "*.example.com for all names below it, and may have a port. IP addresses are not allowed."
                )
            names = self._suffixes if match[1] else self._names
            names.add((match[2], int(match[3] or _HTTPS_PORT)))

    def parse(self, endpoint: str) -> httpx2.URL | None:
        """Return the address of a subscription, as the client will read it; None if it is not allowed."""
        try:
            url = httpx2.URL(endpoint)
        except httpx2.InvalidURL:
            return None
        if url.scheme != "https" or url.userinfo or not self._allows(url.raw_host.decode("ascii"), url.port):
            return None
        return url

    def _allows(self, host: str, port: int | None) -> bool:
        port = _HTTPS_PORT if port is None else port
        if (host, port) in self._names:
            return True
        labels = host.split(".")
        return all(labels) and any(
            (".".join(labels[index:]), port) in self._suffixes for index in range(1, len(labels))
        )
