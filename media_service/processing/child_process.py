"""A child process with pipes to its input and output, which the event loop reads and writes."""

from __future__ import annotations

import asyncio
import os
from asyncio.streams import FlowControlMixin
from collections.abc import Mapping, Sequence
from subprocess import DEVNULL, PIPE, Popen


class ChildProcess:
    """A running process, or one that has ended. `exited` and `closed` are set once it has ended, and its pipes too."""

    def __init__(self, process: Popen[bytes], pipe_bytes: int) -> None:
        self.pid = process.pid
        self.output = asyncio.StreamReader(limit=pipe_bytes)
        self.input: asyncio.StreamWriter
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self._process = process
        self._pipes: list[asyncio.BaseTransport] = []
        self._open_pipes = 0
        self._killed = False

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], pipe_bytes: int) -> ChildProcess:
        """Start a process in a session of its own, in the folder "/"; return it with its pipes. Raises OSError."""
        child = cls(_start(command, environment), pipe_bytes)
        child._watch()
        try:
            await child._connect()
        except BaseException:
            child.kill()
            raise
        return child

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal; None while the process runs."""
        return self._process.returncode

    def kill(self) -> None:
        """Kill the process, if it runs, and close its pipes once it has ended."""
        self._killed = True
        if self.returncode is None:
            self._process.kill()
        else:
            self._close_pipes()

    def _watch(self) -> None:
        """Note the end of the process."""
        loop, descriptor = asyncio.get_running_loop(), os.pidfd_open(self.pid)

        def note_exit() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._process.wait()
            self.exited.set()
            self._note_closed()
            # The pipe of one that ended by itself may still hold its answer.
            if self._killed:
                self._close_pipes()

        loop.add_reader(descriptor, note_exit)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        reading, _ = await loop.connect_read_pipe(lambda: _Output(self), self._process.stdout)
        self._pipes.append(reading)
        writing, protocol = await loop.connect_write_pipe(lambda: _Input(self), self._process.stdin)
        self._pipes.append(writing)
        self.input = asyncio.StreamWriter(writing, protocol, None, loop)

    def _close_pipes(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        self._note_closed()

    def _note_closed(self) -> None:
        if self.exited.is_set() and not self._open_pipes:
            self.closed.set()

    def pipe_opened(self) -> None:
        """Count a pipe."""
        self._open_pipes += 1

    def pipe_lost(self) -> None:
        """Count a pipe that was closed."""
        self._open_pipes -= 1
        self._note_closed()


def _start(command: Sequence[str], environment: Mapping[str, str]) -> Popen[bytes]:
    """Start a process. The caller is the thread of the event loop: the kernel kills a worker when that thread ends.

    `loop.subprocess_exec` of uvloop would run the fork hooks of this process in the child before its program: those of
    libraries fail there, or wait for locks of other threads. `Popen` runs none.
    """
    return Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env=environment, start_new_session=True)


class _PipeProtocol(asyncio.BaseProtocol):
    """Tells a child when one of its pipes is open, and when it is lost."""

    _child: ChildProcess

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._child.pipe_opened()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._child.pipe_lost()


class _Output(_PipeProtocol, asyncio.StreamReaderProtocol):
    def __init__(self, child: ChildProcess) -> None:
        super().__init__(child.output)
        self._child = child


class _Input(_PipeProtocol, FlowControlMixin):
    def __init__(self, child: ChildProcess) -> None:
        super().__init__()
        self._child = child
