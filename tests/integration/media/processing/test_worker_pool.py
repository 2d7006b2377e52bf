"""The pool with real worker processes: hostile files, limits, deaths, cancellation, and what a worker can reach."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from PIL import Image
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from media_service.processing.detection import detect
from media_service.processing.facts import MetadataNotRemovable, NotAPicture, NotDecodable, PictureFacts, TooManyPixels
from media_service.processing.worker_pool import ATTEMPTS, OpenChunks, PoolLimits, WorkerPool
from media_service.processing.worker_process import WorkerLimits
from servicekit.errors import ServerBusy
from tests.eventually import eventually
from tests.media_files import (
    deflate_bomb,
    encode,
    gradient,
    png_with_header_only,
    profile_bomb,
    read_sample,
    sample_pictures,
)

pytestmark = pytest.mark.integration

CHUNK_BYTES: Final = 64 << 10


@asynccontextmanager
async def running(limits: PoolLimits | None = None) -> AsyncIterator[WorkerPool]:
    """Run a pool, and check that it leaves no process behind."""
    pool = WorkerPool(limits or PoolLimits())
    run = asyncio.create_task(pool.run())
    try:
        yield pool
    finally:
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run
        assert worker_pids() == []


def worker_pids() -> list[int]:
    """Return the worker processes of this process that have not ended."""
    return [pid for pid in children() if b"picture_worker" in command_of(pid)]


def children() -> list[int]:
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def command_of(pid: int) -> bytes:
    """Return the command of a process; empty once it has ended."""
    with suppress(OSError):
        return read_process(pid, "cmdline")
    return b""


def read_process(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


class Source:
    """The chunks of a file, each time that they are opened; counts the openings, and the iterators that were closed.

    The first iterators, as many as `pauses`, pause after their first chunk until `resume` is called.
    """

    def __init__(self, data: bytes, *, pauses: int = 0) -> None:
        self.data = data
        self.opened = 0
        self.closed = 0
        self.paused = asyncio.Event()
        self._pauses = pauses
        self._resumed = asyncio.Event()

    async def open(self) -> AsyncIterator[bytes]:
        self.opened += 1
        try:
            for start in range(0, len(self.data), CHUNK_BYTES):
                yield self.data[start : start + CHUNK_BYTES]
                if start == 0 and self.opened <= self._pauses:
                    self._resumed.clear()
                    self.paused.set()
                    await self._resumed.wait()
        finally:
            self.closed += 1

    def resume(self) -> None:
        self.paused.clear()
        self._resumed.set()


def opener(data: bytes) -> OpenChunks:
    return Source(data).open


async def read(pool: WorkerPool, data: bytes, content_type: str | None = None) -> PictureFacts:
    return await pool.read_facts(content_type or detect(data), len(data), opener(data))


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@cache
def photo() -> bytes:
    """Return a PNG of several chunks, whose decoding takes some hundred milliseconds."""
    noise = Image.effect_noise((1000, 750), 60).resize((4000, 3000))
    return encode(Image.merge("RGB", (noise, gradient(4000, 3000).getchannel(0), noise)), "PNG", compress_level=1)


async def test_real_pictures_and_sounds_have_facts_in_concurrent_requests() -> None:
    pictures = [path.read_bytes() for path in sample_pictures()][:40]
    sounds = [read_sample(f"house_lo.{kind}") for kind in ("mp3", "ogg", "opus", "flac", "wav")] * 2
    before = counted("parley_media_pictures_total", outcome="decoded")
    async with running() as pool:
        facts = await asyncio.gather(*(read(pool, data) for data in [*pictures, *sounds]))
        assert len(worker_pids()) == PoolLimits().workers
    assert all(each.thumbnail is not None and each.width > 0 for each in facts[: len(pictures)])
    assert [each.duration_s for each in facts[len(pictures) :]] == pytest.approx([7.1] * len(sounds), abs=0.2)
    assert counted("parley_media_pictures_total", outcome="decoded") == before + len(facts) == before + 50


async def test_hostile_files_leave_the_worker_usable() -> None:
    jpeg = encode(gradient(600, 400), "JPEG")
    hostile = [
        (png_with_header_only(30_000, 30_000), TooManyPixels),
        (deflate_bomb(30_000, 30_000), TooManyPixels),
        (png_with_header_only(3_000, 3_000), NotDecodable),
        (jpeg[: len(jpeg) // 2], NotDecodable),
        (b"GIF89a/*<html><script>*/" * 20, NotAPicture),
    ]
    async with running(PoolLimits(workers=1)) as pool:
        for data, refusal in hostile:
            with pytest.raises(refusal) as raised:
                await read(pool, data)
            assert type(raised.value) is refusal
        [pid] = worker_pids()
        assert (await read(pool, jpeg)).width == 600
        assert worker_pids() == [pid]


def damaged(data: bytes, randomness: random.Random) -> bytes:
    """Return a file with some bytes changed behind its first 16, and sometimes without its end."""
    changed = bytearray(data)
    for _ in range(randomness.randint(1, 20)):
        changed[randomness.randrange(16, len(data))] = randomness.randrange(256)
    return bytes(changed[: randomness.choice([len(data), randomness.randrange(17, len(data))])])


async def test_damaged_pictures_have_facts_or_are_refused() -> None:
    randomness = random.Random(15)
    whole = [encode(gradient(90, 60), name) for name in ("AVIF", "GIF", "JPEG", "PNG", "WEBP")]
    pictures = [damaged(data, randomness) for data in whole for _ in range(40)]
    async with running(PoolLimits(max_waiting=200)) as pool:
        results = await asyncio.gather(*(read_or_refuse(pool, data) for data in pictures))
        assert (await read(pool, whole[0])).width == 90
    assert {type(each) for each in results} >= {PictureFacts, NotAPicture, NotDecodable}


async def read_or_refuse(pool: WorkerPool, data: bytes) -> PictureFacts | Exception:
    try:
        return await read(pool, data)
    except (NotDecodable, TooManyPixels, MetadataNotRemovable) as refusal:
        return refusal


async def test_compressed_profile_of_a_picture_costs_no_memory() -> None:
    async with running(PoolLimits(worker=WorkerLimits(memory_bytes=256 << 20))) as pool:
        with suppress(NotDecodable):
            await read(pool, profile_bomb())
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0


async def test_type_and_decoder_that_disagree_are_refused() -> None:
    async with running() as pool:
        with pytest.raises(NotAPicture):
            await read(pool, encode(gradient(20, 20), "GIF"), "image/png")


async def test_animation_of_many_frames_is_decoded_once() -> None:
    frames = [Image.new("L", (320, 240), n) for n in range(250)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    async with running() as pool:
        assert (await read(pool, data)).width == 320


async def test_picture_of_the_most_pixels_fits_into_the_memory() -> None:
    limits = WorkerLimits(memory_bytes=192 << 20)
    transparent = gradient(2850, 2850)
    transparent.putalpha(transparent.getchannel(0))
    wide = gradient(2100, 2000)
    pictures = [
        encode(transparent, "PNG", compress_level=1),
        encode(gradient(4000, 3900), "PNG", compress_level=1),
        encode(transparent.convert("P"), "GIF"),
        encode(wide, "WEBP", method=0),
        encode(gradient(1480, 1400), "AVIF", speed=10),
        encode(gradient(3450, 3400), "JPEG", progressive=True, subsampling=0),
        encode(gradient(10_000, 8_000), "JPEG"),
    ]
    async with running(PoolLimits(workers=1, worker=limits)) as pool:
        for data in pictures:
            assert (await read(pool, data)).width > 0
        [pid] = worker_pids()
        assert f"Max address space         {192 << 20} " in read_process(pid, "limits").decode()


async def test_file_that_needs_more_memory_than_a_worker_has_is_refused() -> None:
    async with running(PoolLimits(worker=WorkerLimits(memory_bytes=96 << 20))) as pool:
        with pytest.raises(NotDecodable, match="memory"):
            await read(pool, b"ID3" + bytes(60 << 20), "audio/mpeg")
        assert (await read(pool, read_sample("house_lo.wav"))).duration_s == pytest.approx(7.1, abs=0.1)


async def test_file_that_takes_too_long_is_refused_and_its_worker_killed() -> None:
    before = counted("parley_media_worker_restarts_total", reason="NotDecodable")
    async with running(PoolLimits(workers=1, worker=WorkerLimits(time_limit_s=0.02))) as pool:
        await eventually(worker_pids)
        [pid] = worker_pids()
        with pytest.raises(NotDecodable, match="longer than"):
            await read(pool, photo())
        await eventually(lambda: pid not in worker_pids())
    assert counted("parley_media_worker_restarts_total", reason="NotDecodable") == before + 1


async def test_frozen_worker_is_killed_after_the_time_limit() -> None:
    async with running(PoolLimits(workers=1, worker=WorkerLimits(time_limit_s=1.0))) as pool:
        await read(pool, read_sample("alien1.jpg"))
        [pid] = worker_pids()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(NotDecodable, match="longer than"):
            await read(pool, photo())
        await eventually(lambda: pid not in worker_pids())
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
async def test_worker_that_cannot_start_refuses_as_busy(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    async with running(PoolLimits(workers=1)) as pool:
        with capture_logs() as lines, pytest.raises(ServerBusy, match="cannot be processed"):
            await read(pool, read_sample("alien1.jpg"))
        monkeypatch.undo()
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0
    assert [line["log_level"] for line in lines] == ["error"] * ATTEMPTS
    assert "picture_worker 0 1073741824" in lines[0]["command"]


async def test_file_that_is_larger_than_the_limit_is_refused_unread() -> None:
    source = Source(bytes(2000))
    async with running(PoolLimits(max_bytes=1000)) as pool:
        with pytest.raises(NotDecodable, match="2000 bytes"):
            await pool.read_facts("image/png", 2000, source.open)
    assert source.opened == 0


async def pause_in_request(pool: WorkerPool) -> tuple[asyncio.Task[PictureFacts], Source, int]:
    """Start a request that pauses within its file; return it, the file, and the process that has begun to read it."""
    source = Source(photo(), pauses=1)
    request = asyncio.create_task(pool.read_facts("image/png", len(source.data), source.open))
    await source.paused.wait()
    [pid] = worker_pids()
    return request, source, pid


async def test_worker_killed_from_outside_is_replaced_and_the_file_sent_again() -> None:
    async with running(PoolLimits(workers=1)) as pool:
        request, source, pid = await pause_in_request(pool)
        os.kill(pid, signal.SIGKILL)
        source.resume()
        assert (await request).width == 4000
        assert worker_pids() != [pid]
    assert (source.opened, source.closed) == (2, 2)


async def test_file_whose_workers_are_killed_each_time_is_refused_as_busy() -> None:
    source = Source(photo(), pauses=ATTEMPTS)
    async with running(PoolLimits(workers=1)) as pool:
        request = asyncio.create_task(pool.read_facts("image/png", len(source.data), source.open))
        for _ in range(ATTEMPTS):
            await source.paused.wait()
            [pid] = worker_pids()
            os.kill(pid, signal.SIGKILL)
            source.resume()
        with pytest.raises(ServerBusy):
            await request
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0
    assert source.opened == source.closed == ATTEMPTS


@pytest.mark.parametrize("crash", [signal.SIGSEGV, signal.SIGABRT])
async def test_worker_that_crashes_refuses_its_file(crash: signal.Signals) -> None:
    async with running(PoolLimits(workers=1)) as pool:
        request, source, pid = await pause_in_request(pool)
        os.kill(pid, crash)
        source.resume()
        with pytest.raises(NotDecodable, match=crash.name):
            await request
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0
    assert source.opened == 1


async def test_worker_that_died_idle_is_replaced_unnoticed() -> None:
    async with running(PoolLimits(workers=1)) as pool:
        await read(pool, read_sample("alien1.jpg"))
        [pid] = worker_pids()
        os.kill(pid, signal.SIGKILL)
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0


async def test_cancelled_request_leaves_the_pool_usable() -> None:
    async with running(PoolLimits(workers=1)) as pool:
        request, source, pid = await pause_in_request(pool)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await eventually(lambda: pid not in worker_pids())
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0
    assert (source.opened, source.closed) == (1, 1)


async def test_failure_of_the_source_is_raised_unchanged() -> None:
    async def fail() -> AsyncIterator[bytes]:
        yield bytes(1000)
        raise ConnectionResetError("the store went away")

    async with running(PoolLimits(workers=1)) as pool:
        with pytest.raises(ConnectionResetError, match="the store went away"):
            await pool.read_facts("image/png", 2000, fail)
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0


@pytest.mark.parametrize(("announced", "word"), [(10, "more"), (10_000_000, "fewer")])
async def test_file_of_another_size_than_announced_is_an_error(announced: int, word: str) -> None:
    async with running(PoolLimits(workers=1)) as pool:
        with pytest.raises(ValueError, match=word):
            await pool.read_facts("image/jpeg", announced, opener(read_sample("alien1.jpg")))
        assert (await read(pool, read_sample("alien1.jpg"))).width > 0


async def test_full_queue_refuses_as_busy() -> None:
    async with running(PoolLimits(workers=1, max_waiting=1)) as pool:
        request, source, _ = await pause_in_request(pool)
        waiting = asyncio.create_task(read(pool, read_sample("alien1.jpg")))
        with pytest.raises(ServerBusy, match="too many"):
            await asyncio.gather(*(read(pool, read_sample("alien1.jpg")) for _ in range(2)))
        source.resume()
        assert (await request).width == 4000
        assert (await waiting).width > 0


async def test_request_that_waits_too_long_is_refused_as_busy() -> None:
    async with running(PoolLimits(workers=1)) as pool:
        request, source, _ = await pause_in_request(pool)
        # The start of the worker may take longer than this.
        pool._limits = replace(pool._limits, wait_s=0.1)
        with pytest.raises(ServerBusy, match="too slowly"):
            await read(pool, read_sample("alien1.jpg"))
        source.resume()
        assert (await request).width == 4000


async def test_worker_is_replaced_after_its_last_request() -> None:
    pids = []
    async with running(PoolLimits(workers=1, max_requests=2)) as pool:
        for _ in range(3):
            request, source, pid = await pause_in_request(pool)
            source.resume()
            await request
            pids.append(pid)
            await eventually(lambda: len(worker_pids()) <= 1)
    assert pids[0] == pids[1] != pids[2]


async def test_stopped_pool_refuses_its_requests() -> None:
    async with running(PoolLimits(workers=1)) as pool:
        request, source, _ = await pause_in_request(pool)
    source.resume()
    with pytest.raises(ServerBusy):
        await request
    with pytest.raises(ServerBusy):
        await read(pool, read_sample("alien1.jpg"))
    assert worker_pids() == []


async def test_worker_has_no_secret_no_descriptor_and_a_low_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_S3_SECRET_KEY", "do-not-tell")
    inherited = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        async with running(PoolLimits(workers=1)) as pool:
            await read(pool, read_sample("alien1.jpg"))
            [pid] = worker_pids()
            process = Path(f"/proc/{pid}")
            environment = process.joinpath("environ").read_bytes()
            assert b"do-not-tell" not in environment
            assert {entry.split(b"=")[0] for entry in environment.split(b"\0") if entry} == {
                b"LANG",
                b"MALLOC_ARENA_MAX",
            }
            assert process.joinpath("cwd").readlink() == Path("/")
            targets = [str(each.readlink()) for each in process.joinpath("fd").iterdir()]
            assert len(targets) == 4
            assert [each for each in targets if each.startswith("/")] == ["/dev/null", "/dev/null"]
            assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
            assert "Max core file size        0 " in process.joinpath("limits").read_text()
            assert "Max file size             0 " in process.joinpath("limits").read_text()
            assert "NoNewPrivs:\t1" in process.joinpath("status").read_text()
    finally:
        os.close(inherited)


SERVICE: Final = """
import asyncio
from media_service.processing.worker_pool import PoolLimits, WorkerPool
asyncio.run(WorkerPool(PoolLimits(workers=1)).run())
"""


async def test_workers_end_with_a_service_that_is_killed() -> None:
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE)
    found: list[int] = []

    def worker_started() -> bool:
        path = Path(f"/proc/{service.pid}/task/{service.pid}/children")
        found[:] = [int(pid) for pid in path.read_text().split()]
        return any(b"picture_worker" in command_of(pid) for pid in found)

    try:
        await eventually(worker_started)
    finally:
        service.kill()
        await service.wait()
    await eventually(lambda: not any(command_of(pid) for pid in found))


async def test_worker_ends_with_its_input() -> None:
    command = [sys.executable, "-I", "-m", "media_service.processing.picture_worker", "0", str(1 << 30), "1000"]
    ended = await asyncio.to_thread(subprocess.run, command, input=b"", capture_output=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.endswith(b'{"ready": true}')
