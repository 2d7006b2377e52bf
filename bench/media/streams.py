"""The calls of the media service: streamed uploads and downloads, and the calls around presigned transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final

import grpc
import uuid_utils
from google.protobuf.message import Message

from bench.load.device import DeviceIdentity
from bench.media import http2_download
from devstack.errors import SetupError
from parley.media.v1 import media_pb2

CALL_TIMEOUT_S: Final = 60.0
CHUNK_BYTES: Final = 64 * 1024
OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
_SERVICE: Final = "/parley.media.v1.MediaService"


class MediaCaller:
    """The calls of one device over one connection, and its downloads over one each; a context manager.

    Methods raise SetupError if a call fails.
    """

    def __init__(self, door: str, device: DeviceIdentity) -> None:
        self._door = door
        self._metadata = (("authorization", f"Bearer {device.token}"),)
        self._channel = grpc.insecure_channel(door, options=OPTIONS)
        # Frames are passed as they are on the wire, which costs the load generator less.
        self._upload: Any = self._channel.stream_unary(
            f"{_SERVICE}/Upload", response_deserializer=media_pb2.UploadResponse.FromString
        )

    def create_upload(self, size_bytes: int, sha256: bytes) -> media_pb2.CreateUploadResponse:
        """Begin an upload in parts. Without a digest the server does not read the file."""
        description = media_pb2.FileDescription(size_bytes=size_bytes, sha256=sha256)
        request = media_pb2.CreateUploadRequest(request_id=str(uuid_utils.uuid7()), file=description)
        created: media_pb2.CreateUploadResponse = self._call("CreateUpload", request, media_pb2.CreateUploadResponse)
        return created

    def complete_upload(self, media_id: str) -> None:
        """Complete an upload in parts."""
        request = media_pb2.CompleteUploadRequest(media_id=media_id)
        self._call("CompleteUpload", request, media_pb2.CompleteUploadResponse)

    def sign_download(self, media_id: str) -> str:
        """Return an address to download from."""
        request = media_pb2.GetDownloadUrlRequest(media_id=media_id)
        return str(self._call("GetDownloadUrl", request, media_pb2.GetDownloadUrlResponse).url)

    def upload(self, chunks: Sequence[bytes]) -> int:
        """Stream a file, and return its size in bytes."""
        size = sum(map(len, chunks))
        response = self._exchange(self._upload, _encode_frames(size, chunks))
        return int(response.media.size_bytes)

    def download(self, media_id: str, offset: int, length: int) -> int:
        """Stream a range, and return its length in bytes."""
        request = media_pb2.DownloadRequest(media_id=media_id, offset_bytes=offset, length_bytes=length)
        received = http2_download.download(
            self._door, f"{_SERVICE}/Download", dict(self._metadata), request.SerializeToString()
        )
        if received < length:
            raise SetupError(f"A download of the benchmark has {received} bytes instead of {length}.")
        return length

    def _call(self, method: str, request: Message, response: type[Message]) -> Any:
        call: Any = self._channel.unary_unary(f"{_SERVICE}/{method}", response_deserializer=response.FromString)
        return self._exchange(call, request.SerializeToString())

    def _exchange(self, call: Any, request: bytes | Iterator[bytes]) -> Any:
        try:
            return call(request, metadata=self._metadata, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            raise _call_failed(error) from None

    def __enter__(self) -> MediaCaller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()


def stream_all(callers: Sequence[MediaCaller], stream: Callable[[MediaCaller, int], int], count: int) -> int:
    """Stream `count` files, numbered from 0, one at a time by each caller; return the sum of their sizes in bytes."""

    def stream_some(first: int) -> int:
        return sum(stream(callers[first], number) for number in range(first, count, len(callers)))

    with ThreadPoolExecutor(len(callers)) as threads:
        return sum(threads.map(stream_some, range(len(callers))))


def _encode_frames(size_bytes: int, chunks: Sequence[bytes]) -> Iterator[bytes]:
    description = media_pb2.FileDescription(size_bytes=size_bytes)
    start = media_pb2.UploadRequest.Start(request_id=str(uuid_utils.uuid7()), file=description)
    yield media_pb2.UploadRequest(start=start).SerializeToString()
    for chunk in chunks:
        yield media_pb2.UploadRequest(chunk=chunk).SerializeToString()


def _call_failed(error: grpc.RpcError) -> SetupError:
    return SetupError(f"A call of the benchmark failed: {error}.")
