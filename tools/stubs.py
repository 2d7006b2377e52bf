"""The generator of the stubs of `protos/` in `build/stubs/`, run at every install and by `python -m tools.stubs`.

The protos of `tests/protos/` get stubs there as well, which are not part of the wheel.

Imported protos that are not in the repository are written to `build/include/`: protovalidate's rules from its wheel,
Google's error model from googleapis-common-protos. buf reads that folder too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import grpc_tools

from tools import validate_proto

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TEST_PROTOS = ROOT / "tests" / "protos"
INCLUDE = ROOT / "build" / "include"
STUBS = ROOT / "build" / "stubs"
GOOGLE_RPC = ("google/rpc/status.proto", "google/rpc/error_details.proto")


def main() -> None:
    """Write the imports, then replace the stubs as a whole, so that an incomplete set is never importable."""
    write_include()
    STUBS.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STUBS.parent, prefix=".stubs-") as scratch:
        fresh = Path(scratch, "stubs")
        fresh.mkdir()
        _protoc(fresh, [*_list_protos(), INCLUDE / validate_proto.PATH])
        # The package of protovalidate's rules is not of this project.
        for package in (folder for folder in fresh.iterdir() if folder.name != "buf"):
            _mark_as_typed_package(package)
        if STUBS.exists():
            STUBS.rename(Path(scratch, "old"))
        fresh.rename(STUBS)


def write_include() -> None:
    """Write the imported protos of installed packages to `build/include/`."""
    _write(INCLUDE / validate_proto.PATH, validate_proto.proto_text())
    for path in GOOGLE_RPC:
        folder, _, name = path.rpartition("/")
        _write(INCLUDE / path, files(folder.replace("/", ".")).joinpath(name).read_text())


def _list_protos() -> list[Path]:
    return [path for root in (PROTOS, TEST_PROTOS) for path in sorted(root.rglob("*.proto"))]


def _protoc(out: Path, protos: Iterable[Path]) -> None:
    well_known_types = Path(grpc_tools.__file__).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc"]
    command += [f"-I{folder}" for folder in (PROTOS, TEST_PROTOS, INCLUDE, well_known_types)]
    command += [f"--plugin={name}={find_tool(name)}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command += [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    # All code uses grpc.aio; with async-only stubs it needs no casts.
    command += ["--mypy_opt=quiet", "--mypy_grpc_opt=quiet,only_async"]
    subprocess.run([*command, *map(str, protos)], check=True)


def find_tool(name: str) -> str:
    """Return the path of a program in the interpreter's folder or, as in an isolated build, on PATH.

    Raises FileNotFoundError if it is not installed.
    """
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=search)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; it comes with the extra `dev`")
    return found


def _mark_as_typed_package(package: Path) -> None:
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    (package / "py.typed").touch()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
