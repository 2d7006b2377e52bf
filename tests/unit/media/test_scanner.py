"""The scan hook: whatever the scanner answers, there is a verdict in time or none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

import httpx2
import pytest

from media_service.collection import scanner as scanner_module
from media_service.collection.scanner import Scanner, ScannerUnavailable
from media_service.model.media import FileDescription, MediaFacts, MediaFile, MediaKind, MediaState
from tests.contract.media.environment import MemoryObjects

FILE: Final = MediaFile(
    media_id="a" * 32,
    owner_id="b" * 32,
    request_id=bytes(16),
    state=MediaState.SCANNING,
    description=FileDescription("a.bin", "", 5),
    create_ms=0,
    expire_ms=0,
    base_id="a" * 32,
    in_parts=False,
    facts=MediaFacts(MediaKind.FILE, "application/octet-stream", 5, bytes(32)),
)

Answer = Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]


def scanner_that(answer: Answer) -> Scanner:
    scanner = Scanner("http://scanner.example/scan", MemoryObjects())
    scanner._client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return scanner


@pytest.mark.parametrize(("verdict", "clean"), [("clean", True), ("harmful", False)])
async def test_verdict_is_returned(verdict: str, clean: bool) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"verdict": verdict})

    assert await scanner_that(answer).is_clean(FILE) is clean


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, json={"verdict": ["clean"]}),
        httpx2.Response(200, json={"verdict": {"clean": True}}),
        httpx2.Response(200, json={"verdict": "unknown"}),
        httpx2.Response(200, json=["clean"]),
        httpx2.Response(200, content=b"clean"),
        httpx2.Response(500, json={"verdict": "clean"}),
    ],
)
async def test_answer_without_a_verdict_is_none(response: httpx2.Response) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return response

    with pytest.raises(ScannerUnavailable):
        await scanner_that(answer).is_clean(FILE)


async def test_scanner_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "SCAN_TIMEOUT_S", 0.05)

    async def answer(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ScannerUnavailable):
        await scanner_that(answer).is_clean(FILE)
