"""The check for breaking changes of the contract since its baseline, the compiled protos that clients rely on.

`python -m tools.breaking` prints each breaking change and exits like `buf breaking`. `python -m tools.breaking
--record` writes the current contract as the new baseline, and prints the breaking changes that this accepts.
"""

import subprocess
import sys
from pathlib import Path

from tools import stubs

# Relative to the root of the repository. It includes the imports, so that buf can link the file on its own.
BASELINE = "protos/baseline.binpb"


def main(*arguments: str) -> int:
    """Run the check, or record the baseline, and return the exit code."""
    if arguments not in ((), ("--record",)):
        print(__doc__, file=sys.stderr)
        return 2
    stubs.write_include()
    return record() if arguments else check()


def check(root: Path = stubs.ROOT) -> int:
    """Return buf's exit code for the contract in `root`: 0 if there is no breaking change since the baseline."""
    # The imports belong to other packages, which we do not version.
    return _buf(root, "breaking", "protos", "--against", BASELINE, "--exclude-imports")


def record(root: Path = stubs.ROOT) -> int:
    """Write the contract in `root` as the baseline and return buf's exit code."""
    if Path(root, BASELINE).exists():
        check(root)
    # Comments and positions are not part of the contract; with them every edit would change the file.
    return _buf(root, "build", "protos", "--exclude-source-info", "--output", BASELINE)


def _buf(root: Path, *arguments: str) -> int:
    return subprocess.run([stubs.find_tool("buf"), *arguments], cwd=root, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
