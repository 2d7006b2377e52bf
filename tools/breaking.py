"""Checks that the contract only grew since its baseline, the compiled protos that clients may rely on.

`python -m tools.breaking` exits like `buf breaking` and prints each break. `python -m tools.breaking --record` makes
the present contract the baseline and prints the breaks that this accepts.
"""

import subprocess
import sys
from pathlib import Path

from tools import stubs

# Relative to the root of the repository. The imports are inside, so that buf can link the file on its own.
BASELINE = "protos/baseline.binpb"


def main(*arguments: str) -> int:
    """Run the check, or record the baseline, and return the exit code."""
    if arguments not in ((), ("--record",)):
        print(__doc__, file=sys.stderr)
        return 2
    stubs.write_include()
    return record() if arguments else check()


def check(root: Path = stubs.ROOT) -> int:
    """Return buf's exit code for the contract in `root`: 0 if nothing of the baseline was removed or changed."""
    # The imports come with packages, whose authors answer for them.
    return _buf(root, "breaking", "protos", "--against", BASELINE, "--exclude-imports")


def record(root: Path = stubs.ROOT) -> int:
    """Write the contract in `root` as the baseline and return buf's exit code."""
    if Path(root, BASELINE).exists():
        check(root)
    # Comments and positions are no part of the contract, and would change the file with every sentence.
    return _buf(root, "build", "protos", "--exclude-source-info", "--output", BASELINE)


def _buf(root: Path, *arguments: str) -> int:
    return subprocess.run([stubs.find_tool("buf"), *arguments], cwd=root, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
