"""Started in front of every part: ties its life to the launcher's, then becomes the part.

Run as a file, alone and without site packages, so that it costs little:
`python -I -S leash.py <launcher pid> <ready fd> <command …>`. The descriptor closes when the part takes over, so that
the launcher knows that the leash is on.
A child that asks for it is killed by the kernel when its parent dies, whatever killed the parent, and even
when the child itself is frozen. The wish outlives `exec`, so no part needs to know of it. Doing it here rather
than between fork and exec keeps the launcher free of code that runs in a forked, threaded process.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _exec_with_pdeathsig(launcher: int, ready: int, command: list[str]) -> None:
    os.set_inheritable(ready, False)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != launcher:  # it died before the wish was made
        sys.exit("the launcher is gone")
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    _exec_with_pdeathsig(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
