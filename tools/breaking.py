"""Checks that the contract only grew: compares `protos/` with the last tag, or with HEAD where there is none.

Exits like `buf breaking`; before the first commit of a contract there is nothing to break, and that is said.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tools import stubs


def main() -> int:
    """Runs the comparison and gives buf's exit code."""
    if (revision := _last_revision()) is None:
        print("breaking: no committed contract yet, nothing to compare with")
        return 0
    stubs.write_include()
    with tempfile.TemporaryDirectory() as folder:
        _check_out(revision, Path(folder))
        # Rules and imports are today's on both sides; the imports are in no commit anyway.
        shutil.copy(stubs.ROOT / "buf.yaml", folder)
        shutil.copytree(stubs.INCLUDE, Path(folder, "build", "include"))
        command = [stubs.find_tool("buf"), "breaking", "--against", folder]
        return subprocess.run(command, cwd=stubs.ROOT, check=False).returncode


def _last_revision() -> str | None:
    for question in (["describe", "--tags", "--abbrev=0"], ["rev-parse", "--verify", "HEAD"]):
        answer = _git(*question)
        if answer.returncode == 0:
            revision = answer.stdout.decode().strip()
            return revision if _git("cat-file", "-e", f"{revision}:protos").returncode == 0 else None
    return None


def _check_out(revision: str, folder: Path) -> None:
    archive = _git("archive", "--format=tar", revision, "protos")
    archive.check_returncode()
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=stubs.ROOT, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
