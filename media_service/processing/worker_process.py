"""A worker process as the service sees it: it is started, fed with a file, and killed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from media_service.processing.child_process import ChildProcess
from media_service.processing.facts import NotDecodable, PictureFacts
from media_service.processing.worker_protocol import (
    LENGTH,
    ProtocolViolated,
    decode_facts,
    decode_length,
    decode_object,
    decode_refusal,
    encode_object,
    rendition_sizes,
)

Result = TypeVar("Result")

WORKER_MODULE: Final = "media_service.processing.picture_worker"
# The whole environment of a worker: nothing of the service's, which holds the keys of its stores. One arena of the
# allocator, since each reserves address space, which is limited.
_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
_PR_SET_DUMPABLE: Final = 4
_PIPE_BYTES: Final = 64 << 10
_START_TIMEOUT_S: Final = 30.0
_EXIT_TIMEOUT_S: Final = 5.0
_CRASHES: Final = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The bounds of a worker: address space in bytes, pixels of a picture, and seconds for a file.

    The seconds are from the last byte of the file to the answer; they also bound the time in which the worker reads a
    chunk of it.
    """

    memory_bytes: int = 1 << 30
    max_pixels: int = 120_000_000
    time_limit_s: float = 10.0


def hide_from_workers() -> None:
    """Hide the memory and the environment of this process from processes of the same user, as its workers are.

    A file that takes control of a decoder must not read the keys of the stores in /proc. Root reads them all the same.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)


class WorkerNotStarted(Exception):
    """The worker ended, or was silent, before it was ready. The message says how."""


class WorkerKilled(Exception):
    """The worker was killed from outside, such as by the kernel when memory ran out. The message says how."""


class WorkerProcess:
    """A worker process that is ready for requests, one at a time.

    The owner kills it once it is not `usable`. A request that is cancelled makes it so.
    """

    def __init__(self, child: ChildProcess, time_limit_s: float) -> None:
        self.requests = 0
        self._child = child
        self._input = child.input
        self._output = child.output
        self._time_limit_s = time_limit_s
        self._usable = True

    @classmethod
    async def start(cls, limits: WorkerLimits) -> WorkerProcess:
        """Start a process and return it once it is ready. Raise WorkerNotStarted."""
        arguments = (str(os.getpid()), str(limits.memory_bytes), str(limits.max_pixels))
        command = (sys.executable, "-I", "-m", WORKER_MODULE, *arguments)
        try:
            child = await ChildProcess.start(command, _ENVIRONMENT, _PIPE_BYTES)
        except OSError as error:
            raise WorkerNotStarted(str(error)) from None
        worker = cls(child, limits.time_limit_s)
        await worker._wait_ready()
        return worker

    async def _wait_ready(self) -> None:
        """Return once the process is ready. Kill it and raise WorkerNotStarted if it is not in time."""
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._read_object()
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolViolated, TimeoutError):
            self.kill()
            raise WorkerNotStarted(await self.describe_exit()) from None
        except BaseException:
            self.kill()
            await self.wait_closed()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def usable(self) -> bool:
        """True if the worker runs, and can take a request."""
        return self._usable and self._child.returncode is None

    async def read_facts(self, content_type: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> PictureFacts:
        """Return the facts of a file of exactly `size_bytes`, which `chunks` yields.

        Raise a refusal of `facts.py`; it is NotDecodable also if the worker exceeded its time limit or crashed. Raise
        WorkerKilled; ValueError if `chunks` has more or fewer bytes; and what `chunks` raises, unchanged.
        """
        self.requests += 1
        self._usable = False
        await self._write(encode_object({"content_type": content_type, "size_bytes": size_bytes}))
        left = size_bytes
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            await self._write(chunk)
        if left:
            raise ValueError(f"the file has {'more' if left < 0 else 'fewer'} than {size_bytes} bytes")
        answer, facts = await self._within_limit(self._read_answer())
        self._usable = not answer.get("retire")
        if facts is None:
            raise decode_refusal(answer)
        return facts

    def kill(self) -> None:
        """Kill the process, if it runs, and free its pipes. Return at once."""
        self._usable = False
        self._child.kill()

    @property
    def closed(self) -> bool:
        """True once the process has ended and its pipes are closed."""
        return self._child.closed.is_set()

    async def wait_closed(self) -> None:
        """Return once a killed process has ended and its pipes are closed, or after some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_TIMEOUT_S):
                await self._child.closed.wait()

    async def describe_exit(self) -> str:
        """Wait until the process has ended, and return its exit code or signal in words."""
        returncode = await self._wait_exited()
        if returncode is None:
            return f"still running after {_EXIT_TIMEOUT_S:g} s"
        return f"exit code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name

    async def _wait_exited(self) -> int | None:
        """Return the exit code, or minus the signal; None if it does not end in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_TIMEOUT_S):
                await self._child.exited.wait()
        return self._child.returncode

    async def _write(self, data: bytes) -> None:
        try:
            self._input.write(data)
        except RuntimeError:  # uvloop, if the pipe is closed
            raise await self._explain_end() from None
        await self._within_limit(self._input.drain())

    async def _within_limit(self, step: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of an exchange with the worker.

        Raise NotDecodable if it exceeds the time limit or is malformed; see `_explain_end` for a worker that ends.
        """
        try:
            async with asyncio.timeout(self._time_limit_s):
                return await step
        except TimeoutError:
            raise NotDecodable(f"decoding takes longer than {self._time_limit_s:g} s") from None
        except ProtocolViolated as violation:
            raise NotDecodable(f"the worker answered {violation}") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._explain_end() from None

    async def _explain_end(self) -> Exception:
        """Return NotDecodable if the worker ended by itself, or WorkerKilled if a signal from outside ended it."""
        returncode = await self._wait_exited()
        description = await self.describe_exit()
        if returncode is not None and returncode < 0 and -returncode not in _CRASHES:
            return WorkerKilled(description)
        return NotDecodable(f"the decoder crashed: {description}")

    async def _read_answer(self) -> tuple[dict[str, Any], PictureFacts | None]:
        """Return the object of an answer, and its facts unless it is a refusal."""
        answer = await self._read_object()
        if "refusal" in answer:
            return answer, None
        data = {name: await self._output.readexactly(size) for name, size in rendition_sizes(answer).items()}
        return answer, decode_facts(answer, data)

    async def _read_object(self) -> dict[str, Any]:
        length = decode_length(await self._output.readexactly(LENGTH.size))
        return decode_object(await self._output.readexactly(length))
