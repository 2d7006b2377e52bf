"""The scan hook: a file is unreadable until the scanner has decided, and gone if it is harmful."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from parley.internal.v1 import media_pb2 as catalog_pb2
from parley.media.v1 import media_pb2
from servicekit.status import from_proto
from tests.eventually import eventually
from tests.raw.bucket import Bucket
from tests.raw.media import RawMedia
from tests.raw.media_catalog import Catalog
from tests.raw.world import World
from tests.scenarios.conftest import ENVIRONMENT
from tests.scenarios.media.conftest import Files

pytestmark = pytest.mark.scenario

HARMFUL = b"a virus"
PATIENCE = 40


class ScannerServer:
    """A scanner that finds one text harmful. It answers only while `open` is set, and fails while `broken` is set."""

    def __init__(self) -> None:
        self.open, self.broken = Event(), Event()
        self.questions: list[dict[str, Any]] = []
        scanner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["content-length"])))
                scanner.questions.append(question)
                scanner.open.wait(PATIENCE)
                with urlopen(question["url"]) as response:
                    data = response.read()
                assert hashlib.sha256(data).hexdigest() == question["sha256"]
                body = json.dumps({"verdict": "harmful" if HARMFUL in data else "clean"}).encode()
                self.send_response(500 if scanner.broken.is_set() else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Return the address of the hook."""
        return f"http://127.0.0.1:{self._server.server_port}/scan"

    def close(self) -> None:
        """Stop the server."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def scanner() -> Iterator[ScannerServer]:
    scanner = ScannerServer()
    yield scanner
    scanner.close()


@pytest.fixture(scope="module")
def scanned_stack(tmp_path_factory: pytest.TempPathFactory, scanner: ScannerServer) -> Iterator[Stack]:
    """A system with a scanner."""
    environment = {
        **ENVIRONMENT,
        "PARLEY_MEDIA_SCANNER_URL": scanner.address,
        "PARLEY_MEDIA_SCAN_RETRY_SECONDS": "0.5",
        "PARLEY_MEDIA_COLLECTION_PAUSE_SECONDS": "0.2",
    }
    with Stack(
        tmp_path_factory.mktemp("scanned"), chat_servers=1, services=(CHAT, MEDIA), environment=environment
    ) as stack:
        yield stack


@pytest.fixture
async def world(scanned_stack: Stack) -> AsyncIterator[World]:
    async with World(scanned_stack) as world:
        yield world


@pytest.fixture
async def alice(world: World, files: Files) -> RawMedia:
    return files.of(await world.user("alice"))


async def wait_state(alice: RawMedia, media_id: str, state: media_pb2.MediaState.ValueType) -> None:
    async def has_state() -> bool:
        return bool((await alice.get(media_id)).state == state)

    await eventually(has_state, timeout=PATIENCE)


async def test_file_is_unreadable_until_its_verdict(alice: RawMedia, world: World, scanner: ScannerServer) -> None:
    scanner.open.clear()
    media = await alice.upload(os.urandom(1000), file_name="report.bin")
    assert media.state == media_pb2.MEDIA_STATE_SCANNING
    await eventually(lambda: any(each["media_id"] == media.media_id for each in scanner.questions))
    refusal = await alice.download_refusal(media.media_id)
    assert refusal.code_and_reason == ("UNAVAILABLE", "MEDIA_NOT_READY")
    assert (await alice.device.refusal(media_pb2.GetDownloadUrlRequest(media_id=media.media_id))).reason == (
        "MEDIA_NOT_READY"
    )
    claim = catalog_pb2.ClaimRequest(user_id=alice.device.user_id, media_ids=[media.media_id])
    [claimed] = (await Catalog(world).call(claim)).files
    assert from_proto(claimed.refused).reason == "MEDIA_NOT_READY"
    scanner.open.set()
    await wait_state(alice, media.media_id, media_pb2.MEDIA_STATE_READY)
    assert len((await alice.download(media.media_id)).data) == 1000


async def test_harmful_file_is_rejected_and_its_bytes_go(alice: RawMedia, world: World, scanner: ScannerServer) -> None:
    scanner.open.set()
    media = await alice.upload(HARMFUL + os.urandom(10))
    await wait_state(alice, media.media_id, media_pb2.MEDIA_STATE_REJECTED)
    refusal = await alice.download_refusal(media.media_id)
    assert refusal.code_and_reason == ("FAILED_PRECONDITION", "MEDIA_REJECTED")
    bucket = Bucket(world.stack)

    async def is_empty() -> bool:
        return not await bucket.objects(media.media_id)

    await eventually(is_empty, timeout=PATIENCE)
    claim = catalog_pb2.ClaimRequest(user_id=alice.device.user_id, media_ids=[media.media_id])
    [claimed] = (await Catalog(world).call(claim)).files
    assert from_proto(claimed.refused).reason == "MEDIA_REJECTED"


async def test_failing_scanner_is_asked_again(alice: RawMedia, scanner: ScannerServer) -> None:
    scanner.open.set()
    scanner.broken.set()
    media = await alice.upload(os.urandom(1000))
    asked = [each for each in scanner.questions if each["media_id"] == media.media_id]
    await eventually(
        lambda: sum(each["media_id"] == media.media_id for each in scanner.questions) > len(asked) + 1,
        timeout=PATIENCE,
    )
    assert (await alice.download_refusal(media.media_id)).reason == "MEDIA_NOT_READY"
    scanner.broken.clear()
    await wait_state(alice, media.media_id, media_pb2.MEDIA_STATE_READY)
