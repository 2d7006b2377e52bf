"""The CPU of a mesh frame that shares no write with another: `python -m bench.mesh_frame`.

Both ends of all streams are in this process, so its CPU is that of both. A stream carries one frame at a time, which
the peer acknowledges, while others are at work: so it is between the busy servers of a large deployment.
"""

from __future__ import annotations

import asyncio
import os
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
import uvloop

from bench.machine import describe_machine
from bench.results import current_commit
from chat_service.mesh.peer_pool import BATCH_FIELD, EXCHANGE, OPTIONS
from chat_service.mesh.peer_stream import PeerStream
from chat_service.model.delivery import DeliveredEntry, Delivery
from chat_service.wire.mesh import encode_deliver, encode_delivery
from parley.internal.v1.mesh_pb2 import ExchangeRequest, ExchangeResponse, MeshBatch, MeshFrame, MeshHello
from servicekit.proto_fields import encode_bytes_field

FRAMES: Final = 10_000
WARM_UP: Final = 1000
STREAMS: Final = 50
AT_WORK: Final = 8
ENTRY_BYTES: Final = 300
USER: Final = "0" * 32


class MeshBench:
    """Streams from one end to the other, of which `at_work` carry a frame at any time."""

    def __init__(self, at_work: int) -> None:
        self._free = asyncio.Semaphore(at_work)
        self._streams: list[PeerStream] = []

    async def measure(self, frames: int) -> float:
        """Send `frames` frames over the streams in turn. Return the µs of CPU of each, its acknowledgement included."""
        started_at = time.process_time()
        for number in range(frames):
            await self._free.acquire()
            self._streams[number % len(self._streams)].send(_create_frame())
        return (time.process_time() - started_at) / frames * 1e6

    async def dial(self, address: str, stack: AsyncExitStack) -> asyncio.Task[None]:
        """Open a stream to `address`, and return the task that runs it."""
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=OPTIONS))
        exchange: Any = channel.stream_stream(EXCHANGE)
        stream, call = PeerStream(MeshHello(server_id="bench"), lambda: 1), exchange()
        await call.wait_for_connection()
        self._streams.append(stream)
        return asyncio.create_task(self._run(stream, call, ExchangeResponse))

    async def serve(self, _: object, context: Any) -> None:
        """Serve a stream until it ends."""
        await self._run(PeerStream(None, lambda: 1), context, ExchangeRequest)

    async def _run(self, stream: PeerStream, call: Any, message: type[ExchangeRequest | ExchangeResponse]) -> None:
        async def read() -> MeshBatch | None:
            data: object = await call.read()
            return message.FromString(data).batch if isinstance(data, bytes) else None

        await stream.run(read, lambda batch: call.write(encode_bytes_field(BATCH_FIELD, batch)), self._receive)

    def _receive(self, _: MeshFrame, __: PeerStream) -> None:
        self._free.release()


async def measure_frame(frames: int, streams: int = STREAMS, at_work: int = AT_WORK) -> float:
    """Return the µs of CPU of a frame at both ends, mean over `frames`."""
    bench, server = MeshBench(at_work), grpc.aio.server()
    service, method = EXCHANGE.removeprefix("/").split("/")
    handlers: Any = {method: grpc.stream_stream_rpc_method_handler(bench.serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncExitStack() as stack:
        tasks = [await bench.dial(f"127.0.0.1:{port}", stack) for _ in range(streams)]
        await bench.measure(WARM_UP)
        found = await bench.measure(frames)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await server.stop(None)
    return found


def _create_frame() -> MeshFrame:
    """Return a delivery of one entry to a user, as an owner sends it to a home."""
    entry = DeliveredEntry(bytes(ENTRY_BYTES), USER, bytes(16))
    return encode_deliver([USER], encode_delivery(Delivery(entries=(entry,))))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the CPU of a frame, the commit and the machine."""
    parser = ArgumentParser(prog="python -m bench.mesh_frame", description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"frames that are measured (default {FRAMES:,})")
    frames: int = parser.parse_args(arguments).frames
    if frames < 1:
        parser.error(f"--frames must be at least 1, not {frames}")
    # gRPC reports the end of every stream.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    found = uvloop.run(measure_frame(frames))
    machine = ", ".join(f"{name} {value}" for name, value in describe_machine().items())
    print(f"a mesh frame: {found:.0f} µs at both ends; commit {current_commit()} on {machine}")


if __name__ == "__main__":
    main()
