"""A child process of a service: started without the fork hooks of its libraries, and freed when it is killed."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, because hooks cannot be removed.
_SERVICE = """
import asyncio, os, uvloop
from media_service.processing.child_process import ChildProcess

os.register_at_fork(after_in_child=lambda: os.write(1, b"hook "))

async def main():
    child = await ChildProcess.start(["/bin/cat"], {}, 65536)
    child.input.write(b"echo")
    os.write(1, await child.output.readexactly(4))
    child.kill()
    async with asyncio.timeout(10):
        await child.closed.wait()
    os.write(1, f" {child.returncode}".encode())

uvloop.run(main())
"""


def test_killed_child_ran_no_fork_hook_and_closes_its_pipes() -> None:
    ran = subprocess.run([sys.executable, "-c", _SERVICE], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("echo -9", "")
