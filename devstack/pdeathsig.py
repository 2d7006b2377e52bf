"""A wrapper that sets PR_SET_PDEATHSIG and then executes a command, so that the command dies with the launcher.

It runs as a file, isolated and without site packages, which keeps it fast:
`python -I -S pdeathsig.py <launcher pid> <ready fd> <command …>`. The descriptor closes on `exec`, which tells the
launcher that the signal is set.
The kernel sends SIGKILL to the child when its parent dies for any reason, even if the child is frozen. The setting
survives `exec`, so the command needs no support for it. A wrapper avoids code between fork and exec in the launcher,
which has threads.
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
    if os.getppid() != launcher:  # the launcher died before the signal was set
        sys.exit("the launcher has exited")
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    _exec_with_pdeathsig(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
