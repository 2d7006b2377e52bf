"""HTTP requests to servers on this machine, without the proxy of the environment."""

from __future__ import annotations

import urllib.error
import urllib.request

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, timeout: float = 2.0) -> bytes:
    """Return the body of a GET request. Raise OSError if it fails or its status is not 2xx; `timeout` is in seconds."""
    with _direct.open(url, timeout=timeout) as response:
        body: bytes = response.read()
    return body
