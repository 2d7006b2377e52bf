"""The workloads of transfers: uploads and downloads through the service, and the same with the S3 store alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.figures import Figure, Sample, combine_repeats
from bench.measurement import Measurement
from bench.media.content import MIB, PART_BYTES, Contents, digest_of
from bench.media.http1 import Request, exchange_all
from bench.media.store import DirectStore
from bench.media.streams import CHUNK_BYTES, MediaCaller, stream_all
from bench.usage import Usage

# As many devices stream at a time as connections transfer parts.
CONNECTIONS: Final = 4
STREAMED_BYTES: Final = 10 * MIB
# So many downloads take about as long as an upload.
_DOWNLOADS: Final = 4
_MEGABYTE: Final = 1_000_000
_SERVERS: Final = ("media", "envoy", "seaweedfs")


@dataclass(frozen=True, slots=True)
class Transfer:
    """A number of bytes that was transferred, and the CPU used meanwhile."""

    size_bytes: int
    used: Usage

    @property
    def megabytes_per_second(self) -> float:
        """The throughput."""
        return self.size_bytes / _MEGABYTE / self.used.at

    def cpu_ms_per_megabyte(self, kind: str) -> float:
        """Return the CPU of the processes of a kind, in milliseconds."""
        return self.used.cpu_by_kind[kind] * 1000 / (self.size_bytes / _MEGABYTE)


class Transfers:
    """The ways up and down; a context manager. Each transfers files one after the other, over several connections."""

    def __init__(self, measurement: Measurement) -> None:
        environment, sizes = measurement.environment, measurement.sizes
        self._measurement = measurement
        self._contents = Contents(sizes.file_mib * MIB)
        self._origin = environment.stack.media_origin
        self._exits = ExitStack()
        self._store = self._exits.enter_context(DirectStore(environment.stack.s3))
        [user] = environment.users.create_users(1)
        self._callers = [self._exits.enter_context(MediaCaller(environment.door, user)) for _ in range(CONNECTIONS)]
        self._media_ids: list[str] = []

    def __enter__(self) -> Transfers:
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def measure_uploads(self) -> dict[str, Transfer]:
        """Return the uploads of one repeat by their names."""
        files = range(self._measurement.sizes.files)
        contents = [self._contents.next_parts() for _ in files]
        announced = [(parts, digest_of(parts)) for parts in (self._contents.next_parts() for _ in files)]
        chunks = [
            self._contents.next_chunks(STREAMED_BYTES, CHUNK_BYTES) for _ in range(self._measurement.sizes.streamed)
        ]
        return {
            "direct": self._measure(lambda: sum(map(self._upload_directly, contents))),
            "presigned": self._measure(lambda: sum(self._upload_presigned(parts) for parts in contents)),
            "presigned, digest": self._measure(lambda: sum(self._upload_presigned(*each) for each in announced)),
            "streamed": self._measure(
                lambda: stream_all(self._callers, lambda caller, number: caller.upload(chunks[number]), len(chunks))
            ),
        }

    def measure_downloads(self) -> dict[str, Transfer]:
        """Return the downloads of one repeat by their names. `store_file` comes first."""
        count = _DOWNLOADS * self._measurement.sizes.files
        presigned = [self._callers[0].sign_download(self._media_ids[0]) for _ in range(count)]
        direct = list(map(self._store.sign_download, presigned))
        return {
            "direct": self._measure(lambda: _download_all(self._store.origin, direct)),
            "presigned": self._measure(lambda: _download_all(self._origin, presigned)),
            "streamed": self._measure(
                lambda: stream_all(self._callers, self._download_stream, self._measurement.sizes.streamed)
            ),
        }

    def store_file(self) -> None:
        """Store the file that is downloaded."""
        self._upload_presigned(self._contents.next_parts())

    def _upload_directly(self, parts: Sequence[Sequence[memoryview]]) -> int:
        return self._store.upload(parts, CONNECTIONS)

    def _upload_presigned(self, parts: Sequence[Sequence[memoryview]], sha256: bytes = b"") -> int:
        caller = self._callers[0]
        created = caller.create_upload(self._contents.size_bytes, sha256)
        requests = [Request(part.url, body) for part, body in zip(created.parts, parts, strict=True)]
        sent = exchange_all(self._origin, requests, CONNECTIONS)
        caller.complete_upload(created.upload.media_id)
        self._media_ids.append(created.upload.media_id)
        return sent

    def _download_stream(self, caller: MediaCaller, number: int) -> int:
        offset = number * STREAMED_BYTES % (self._contents.size_bytes - STREAMED_BYTES + 1)
        return caller.download(self._media_ids[0], offset, STREAMED_BYTES)

    def _measure(self, transfer: Callable[[], int]) -> Transfer:
        return Transfer(*self._measurement.measure_work(transfer))


def uploads(measurement: Measurement) -> list[Figure]:
    """Measure uploads of files through presigned addresses and in streams, against the S3 store alone."""
    sizes = measurement.sizes
    workload = f"uploads of {sizes.file_mib} MiB in parts of {PART_BYTES // MIB} MiB, or streams of 10 MiB, 4 at a time"
    with Transfers(measurement) as transfers:
        # The first bytes make the store create its files.
        transfers.store_file()
        return _measure_repeats(measurement, workload, transfers.measure_uploads)


def downloads(measurement: Measurement) -> list[Figure]:
    """Measure downloads of files from presigned addresses and in streams, against the S3 store alone."""
    workload = f"downloads of {measurement.sizes.file_mib} MiB, or streams of 10 MiB, 4 at a time"
    with Transfers(measurement) as transfers:
        transfers.store_file()
        return _measure_repeats(measurement, workload, transfers.measure_downloads)


def _measure_repeats(
    measurement: Measurement, workload: str, measure: Callable[[], dict[str, Transfer]]
) -> list[Figure]:
    measurement.print_text(workload)
    repeats = []
    for repeat in range(1, measurement.sizes.repeats + 1):
        repeats.append(_samples(measure()))
        measurement.print_repeat(workload, repeat, repeats[-1])
    return combine_repeats(workload, repeats)


def _samples(transfers: dict[str, Transfer]) -> list[Sample]:
    direct = transfers["direct"].megabytes_per_second
    speeds = {name: transfer.megabytes_per_second for name, transfer in transfers.items()}
    samples = [Sample(name, "MB/s", speed, more_is_better=True) for name, speed in speeds.items()]
    samples += [
        Sample(f"{name} / direct", "", speed / direct, more_is_better=True)
        for name, speed in speeds.items()
        if name != "direct"
    ]
    for name, transfer in transfers.items():
        kinds = ("seaweedfs",) if name == "direct" else _SERVERS
        samples += [Sample(f"{name}: {kind} CPU", "ms/MB", transfer.cpu_ms_per_megabyte(kind)) for kind in kinds]
        load = transfer.cpu_ms_per_megabyte("bench")
        samples.append(Sample(f"{name}: load generator", "ms/MB", load, more_is_better=None))
    return samples


def _download_all(origin: str, addresses: Sequence[str]) -> int:
    return exchange_all(origin, [Request(address) for address in addresses], CONNECTIONS)
