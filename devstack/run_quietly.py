"""Run a module as `python -m` does, but print no traceback on Ctrl-C: standard library only.

python -m devstack.run_quietly MODULE ARGUMENTS
"""

from __future__ import annotations

import runpy
import sys
from types import TracebackType


def _print_unless_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    sys.excepthook = _print_unless_interrupted
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
