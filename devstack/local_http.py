"""One look at a page on this machine, past any proxy the person may have set."""

from __future__ import annotations

import urllib.error
import urllib.request

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, timeout: float = 2.0) -> bytes:
    """The body. Raises OSError when it cannot be had, with an answer other than 2xx too."""
    with _direct.open(url, timeout=timeout) as answer:
        body: bytes = answer.read()
    return body
