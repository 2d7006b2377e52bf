"""Presigned addresses at Envoy with a real S3 store behind it: transfers, refusals, and the headers of every answer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from bench.usage import resident_bytes
from devstack.stack import Stack
from tests.eventually import eventually
from tests.integration.devstack.presigned import Response, get, put, request, s3_client, sign

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

MB = 1 << 20
BODY = b"<script>alert(1)</script>"
SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("media"), only=["seaweedfs", "envoy"]) as stack:
        assert put(stack, "page", BODY).status == 200
        yield stack


def is_safe(answer: Response) -> bool:
    return {name: answer.headers.get(name) for name in SAFE} == SAFE


def refused_by_envoy(answer: Response) -> bool:
    return answer.status == 403 and answer.body == b"This is no presigned address.\n"


def test_object_passes_both_ways(stack: Stack) -> None:
    body = os.urandom(3 * MB)
    stored = put(stack, "some/object", body)
    assert (stored.status, is_safe(stored)) == (200, True)
    read = get(stack, "some/object")
    assert (read.status, read.body, read.headers["etag"]) == (200, body, stored.headers["etag"])
    head = request(stack, "HEAD", sign(stack, "HEAD", "some/object"))
    assert (head.status, head.headers["content-length"]) == (200, str(len(body)))


def test_range_is_served(stack: Stack) -> None:
    part = get(stack, "page", range="bytes=8-13")
    assert (part.status, part.body) == (206, BODY[8:14])
    assert part.headers["content-range"] == f"bytes 8-13/{len(BODY)}"
    beyond = get(stack, "page", range="bytes=100-200")
    assert (beyond.status, is_safe(beyond)) == (416, True)


def test_page_can_do_nothing_in_a_browser(stack: Stack) -> None:
    answer = get(stack, "page", origin="https://app.example")
    assert (answer.status, is_safe(answer)) == (200, True)
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {"etag", "content-range", "content-length", "accept-ranges"} <= exposed
    # Of the server behind, and of other permissions.
    assert not {name for name in answer.headers if name.startswith(("seaweed", "x-envoy", "access-control-allow-c"))}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_preflight_is_answered_without_the_store(stack: Stack, method: str) -> None:
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": method,
        "access-control-request-headers": "content-type,range",
    }
    answer = request(stack, "OPTIONS", sign(stack, method, "page"), headers=asked)
    assert (answer.status, is_safe(answer)) == (204, True)
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert answer.headers["access-control-allow-headers"] == "*"


def query(stack: Stack, method: str = "GET") -> str:
    return sign(stack, method, "page").partition("?")[2]


REFUSED: dict[str, tuple[str, Callable[[Stack], str]]] = {
    "anonymous read": ("GET", lambda stack: "/media/page"),
    "anonymous list": ("GET", lambda stack: "/media/?list-type=2"),
    "signed list": ("GET", lambda stack: f"/media/?{query(stack)}"),
    "bucket": ("GET", lambda stack: f"/media?{query(stack)}"),
    "buckets": ("GET", lambda stack: f"/?{query(stack)}"),
    "signed delete": ("DELETE", lambda stack: sign(stack, "DELETE", "page")),
    "signed post": ("POST", lambda stack: sign(stack, "POST", "page")),
    "plain options": ("OPTIONS", lambda stack: sign(stack, "GET", "page")),
    "other bucket": ("GET", lambda stack: sign(stack, "GET", "page", bucket="other")),
    "parent": ("GET", lambda stack: f"/media/../other/page?{query(stack)}"),
    "parent within": ("GET", lambda stack: f"/media/a/../page?{query(stack)}"),
    "current": ("GET", lambda stack: f"/media/./page?{query(stack)}"),
    "escaped parent": ("GET", lambda stack: f"/media/%2e%2e/page?{query(stack)}"),
    "empty part": ("GET", lambda stack: f"/media//page?{query(stack)}"),
    "prefix of the bucket": ("GET", lambda stack: f"/media-other/page?{query(stack)}"),
    "empty signature": ("GET", lambda stack: "/media/page?X-Amz-Signature="),
    "signature in a fragment of a value": ("GET", lambda stack: f"/media/page?a=X-Amz-Signature={'0' * 64}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_request_that_is_no_presigned_address_does_not_reach_the_store(stack: Stack, name: str) -> None:
    method, target = REFUSED[name]
    answer = request(stack, method, target(stack))
    assert refused_by_envoy(answer)
    assert is_safe(answer)
    assert get(stack, "page").body == BODY


@pytest.mark.parametrize("path", ["/media/a%2Fpage", "/media/a%5Cpage"])
def test_escaped_slash_is_refused(stack: Stack, path: str) -> None:
    answer = request(stack, "GET", f"{path}?{query(stack)}")
    assert (answer.status, is_safe(answer)) == (400, True)


def altered(stack: Stack) -> str:
    target = sign(stack, "GET", "page")
    return target[:-1] + ("0" if target[-1] != "0" else "1")


BY_THE_STORE: dict[str, tuple[str, Callable[[Stack], str], str]] = {
    "altered signature": ("GET", altered, "SignatureDoesNotMatch"),
    "other object": ("GET", lambda stack: f"/media/other?{query(stack)}", "SignatureDoesNotMatch"),
    "other method": ("PUT", lambda stack: sign(stack, "GET", "page"), "SignatureDoesNotMatch"),
    "unsigned override": (
        "GET",
        lambda stack: sign(stack, "GET", "page") + "&response-content-type=text%2Fhtml",
        "SignatureDoesNotMatch",
    ),
    "other key": (
        "GET",
        lambda stack: sign(stack, "GET", "page").replace(stack.s3.keys.access_key, "A" * 20),
        "InvalidAccessKeyId",
    ),
}


@pytest.mark.parametrize("name", BY_THE_STORE)
def test_address_with_a_wrong_signature_is_refused_by_the_store(stack: Stack, name: str) -> None:
    method, target, code = BY_THE_STORE[name]
    answer = request(stack, method, target(stack))
    assert (answer.status, is_safe(answer)) == (403, True)
    assert f"<Code>{code}</Code>".encode() in answer.body


async def test_expired_address_is_refused(stack: Stack) -> None:
    target = sign(stack, "GET", "page", expires_s=1)
    assert request(stack, "GET", target).status == 200

    def expired() -> bool:
        answer = request(stack, "GET", target)
        return (answer.status, is_safe(answer)) == (403, True) and b"expired" in answer.body

    await eventually(expired)


def test_missing_object_has_the_headers(stack: Stack) -> None:
    answer = get(stack, "missing")
    assert (answer.status, is_safe(answer)) == (404, True)


def test_large_body_is_not_kept_in_memory(stack: Stack) -> None:
    size, piece = 30 * MB, os.urandom(MB)
    envoy = stack.processes["envoy"].pid
    put(stack, "warm", piece)
    before = resident_bytes(envoy)
    most = before

    def body() -> Iterator[bytes]:
        nonlocal most
        for _ in range(size // MB):
            most = max(most, resident_bytes(envoy))
            yield piece

    stored = request(stack, "PUT", sign(stack, "PUT", "large"), body(), {"content-length": str(size)}, 60.0)
    assert stored.status == 200
    assert get(stack, "large").body == piece * (size // MB)
    assert max(most, resident_bytes(envoy)) - before < 8 * MB


async def test_log_has_the_failure_and_no_signature(stack: Stack) -> None:
    target = altered(stack).replace("/media/page", "/media/logged")
    signature = parse_qs(urlsplit(target).query)["X-Amz-Signature"][0]
    assert request(stack, "GET", target).status == 403
    log = stack.layout.log_path("envoy-failed-calls")
    # Envoy writes the log every ten seconds.
    await eventually(lambda: "/media/logged" in log.read_text(), 30.0)
    [line] = [json.loads(line) for line in log.read_text().splitlines() if "/media/logged" in line]
    assert (line["method"], line["path"], line["http_status"]) == ("GET", "/media/logged", 403)
    assert signature not in log.read_text()
    assert "X-Amz" not in log.read_text()


def test_objects_survive_a_crash_of_the_store(stack: Stack) -> None:
    store = stack.processes["seaweedfs"]
    bodies = {f"kept/{number}": os.urandom(300_000) for number in range(20)}
    for key, body in bodies.items():
        assert put(stack, key, body).status == 200
    store.kill()
    began = time.monotonic()
    down = get(stack, "page")
    assert (down.status, is_safe(down)) == (503, True)
    assert down.body == b"The store of the files does not answer; try again.\n"
    assert time.monotonic() - began < 10
    store.start()
    store.wait_healthy()
    assert [key for key, body in bodies.items() if get(stack, key).body != body] == []
    client = s3_client(stack, stack.s3.url)
    assert {each.object_name for each in client.list_objects("media", "kept/")} == set(bodies)
