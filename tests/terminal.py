"""The `parley` command, run as a separate process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from parley_client import FileStore, Session

# A shell that runs the tests in the background has them, and so the command, ignore SIGINT. The command itself restores
# it: a function between fork and exec would have gRPC's fork handlers run, which may crash the child.
PARLEY = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from parley_command import main; main()"
)


class Terminal:
    """A runner of `parley` against `door`; `password` answers its prompts, and sessions are stored under `home`."""

    def __init__(self, door: str, home: Path, password: str) -> None:
        self.environment = {
            **os.environ,
            "PARLEY_DOOR": door,
            "PARLEY_PASSWORD": password,
            "XDG_CONFIG_HOME": str(home),
            "COLUMNS": "200",
        }

    def keep(self, session: Session) -> str:
        """Store a session as `parley login` does; return its login name."""
        FileStore(Path(self.environment["XDG_CONFIG_HOME"]) / "parley" / f"{session.login_name}.json").save(session)
        return session.login_name

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARLEY, *words),
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run_bytes(self, *words: str, typed: str = "") -> tuple[int, bytes, str]:
        child = await self.begin(*words)
        out, err = await child.communicate(typed.encode())
        return child.returncode or 0, out, err.decode()

    async def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        code, out, err = await self.run_bytes(*words, typed=typed)
        return code, out.decode(), err

    async def ok(self, *words: str, typed: str = "") -> str:
        code, out, err = await self.run(*words, typed=typed)
        assert (code, err) == (0, "")
        return out

    async def run_without_reader(self, *words: str, lines: int = 0) -> tuple[int, str]:
        """Run a command whose reader leaves after so many lines of output; return its exit code and its errors.

        Its input stays open until it ends.
        """
        reader, writer = os.pipe()
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARLEY, *words),
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=writer,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as output:
            for _ in range(lines):
                await asyncio.to_thread(output.readline)
        assert child.stderr is not None
        err = await child.stderr.read()
        return await child.wait(), err.decode()

    async def refused(self, *words: str, typed: str = "") -> str:
        code, _, err = await self.run(*words, typed=typed)
        assert code == 1, err
        assert "Traceback" not in err
        return err
