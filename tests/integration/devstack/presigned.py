"""Presigned addresses of a stack, and plain HTTP requests that send a path as it is written."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from minio import Minio

from devstack.s3 import BUCKET, REGION
from devstack.stack import Stack


class Response:
    """A complete response; the names of `headers` are in lower case."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()


def s3_client(stack: Stack, origin: str) -> Minio:
    """Return a client with the stack's identity of the S3 store at an origin."""
    keys = stack.s3.keys
    endpoint = origin.partition("://")[2]
    return Minio(endpoint, access_key=keys.access_key, secret_key=keys.secret_key, region=REGION, secure=False)


def sign(stack: Stack, method: str, key: str, *, bucket: str = BUCKET, expires_s: int = 600) -> str:
    """Return a presigned target (`/path?query`) on Envoy's listener for media."""
    client = s3_client(stack, stack.media_origin)
    url = urlsplit(client.get_presigned_url(method, bucket, key, timedelta(seconds=expires_s)))
    return f"{url.path}?{url.query}"


def request(
    stack: Stack,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Response:
    """Send a request to Envoy's listener for media and return the response."""
    connection = http.client.HTTPConnection(urlsplit(stack.media_origin).netloc, timeout=timeout)
    try:
        connection.request(method, target, body, dict(headers or {}))
        return Response(connection.getresponse())
    finally:
        connection.close()


def put(stack: Stack, key: str, body: bytes) -> Response:
    """Store an object through a presigned address."""
    return request(stack, "PUT", sign(stack, "PUT", key), body)


def get(stack: Stack, key: str, **headers: str) -> Response:
    """Read an object through a presigned address; underscores in the names of headers are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(stack, "GET", sign(stack, "GET", key), headers=named)
