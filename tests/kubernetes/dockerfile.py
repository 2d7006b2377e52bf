"""A replay of a Dockerfile without Docker: its stages become folders, its COPY and RUN lines are executed in them.

A stage begins with the file systems of this machine that the images of Python have as well, read-only, under an empty
root. Whatever a line needs and no earlier line has made is missing, as in Docker. The base images themselves are not
replayed, and dependencies are not downloaded: pip installs the project alone, and finds them in this environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
# What the images of Python have: programs and libraries.
_SYSTEM: Final = ("/usr", "/bin", "/lib", "/lib64", "/dev")
_DEPENDENCIES: Final = sysconfig.get_path("purelib")
_MOUNTED: Final = (*_SYSTEM, *([] if sys.base_prefix == "/usr" else [sys.base_prefix]), sys.prefix)
# The command that runs another one in new namespaces, of users as well if this user may make no others.
UNSHARE: Final = ("unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))
_UNSHARE: Final = (*UNSHARE, "--mount")
# In a chroot / is no mount point, and cannot be made private.
_UNSHARE_IN_CHROOT: Final = (*_UNSHARE, "--propagation", "unchanged")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
# pip reads 0 as "without isolation", because the option has a negative name.
_PIP: Final = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore"}


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile: `COPY`, and the text after it."""

    name: str
    text: str


@dataclass
class BuildStage:
    """A stage: its folder is the root of its file system."""

    name: str
    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/image:/usr/bin:/bin"})
    workdir: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)

    def path(self, path: str) -> Path:
        """Return the place of a path of the stage on this machine."""
        return self.folder / str(PurePosixPath(self.workdir, path)).lstrip("/")


def parse_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile. Lines may be continued."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def list_context(folder: Path) -> list[Path]:
    """Return the files that Docker gets, relative to `folder`: those that .dockerignore does not exclude."""
    patterns = [line for line in (folder / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    # A folder that is excluded is not entered, which is enough for patterns such as these.
    assert not any("/" in each for each in patterns if each.startswith("!"))
    tops = [path for path in sorted(folder.iterdir()) if not _is_ignored(PurePosixPath(path.name), patterns)]
    files = [file for top in tops for file in (sorted(top.rglob("*")) if top.is_dir() else [top]) if file.is_file()]
    relative = [file.relative_to(folder) for file in files]
    return [path for path in relative if not _is_ignored(PurePosixPath(path), patterns)]


def _is_ignored(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    ignored = False
    for pattern in patterns:
        if any(_matches(each, pattern.removeprefix("!")) for each in (path, *path.parents[:-1])):
            ignored = not pattern.startswith("!")
    return ignored


def _matches(path: PurePosixPath, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.name, pattern.removeprefix("**/"))
    return len(path.parts) == len(PurePosixPath(pattern).parts) and fnmatchcase(str(path), pattern)


class Replay:
    """The stages of a Dockerfile, replayed in `scratch` in their order."""

    def __init__(self, dockerfile: Path, scratch: Path) -> None:
        self._context = list_context(dockerfile.parent)
        self._source = dockerfile.parent
        self.stages: dict[str, BuildStage] = {}
        for instruction in parse_dockerfile(dockerfile.read_text()):
            if instruction.name == "FROM":
                name = instruction.text.partition(" AS ")[2] or "final"
                self.stages[name] = BuildStage(name, scratch / name)
                _lay_foundation(self.image)
            else:
                getattr(self, f"_{instruction.name.lower()}")(self.image, instruction.text)

    @property
    def image(self) -> BuildStage:
        """The last stage, which is the image."""
        return list(self.stages.values())[-1]

    def _workdir(self, stage: BuildStage, text: str) -> None:
        stage.workdir = text
        stage.path(".").mkdir(parents=True, exist_ok=True)

    def _env(self, stage: BuildStage, text: str) -> None:
        for pair in shlex.split(text):
            name, _, value = pair.partition("=")
            stage.environment[name] = value.replace("$PATH", stage.environment["PATH"])

    def _user(self, stage: BuildStage, text: str) -> None:
        stage.user = text

    def _cmd(self, stage: BuildStage, text: str) -> None:
        stage.command = json.loads(text)

    def _copy(self, stage: BuildStage, text: str) -> None:
        *sources, target = shlex.split(text)
        origin = sources.pop(0).removeprefix("--from=") if sources[0].startswith("--from=") else None
        for source in sources:
            if origin is not None:
                shutil.copytree(self.stages[origin].path(source), stage.path(target), symlinks=True)
            else:
                self._copy_from_context(source, stage, target)

    def _copy_from_context(self, source: str, stage: BuildStage, target: str) -> None:
        found = [path for path in self._context if source in {str(path), *map(str, path.parents)}]
        assert found, f"COPY {source}: no such file in the context of the build"
        for path in found:
            inner = path.relative_to(source) if path != Path(source) else Path(path.name if target[-1] == "/" else "")
            file = stage.path(target) / inner
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._source / path, file)

    def _run(self, stage: BuildStage, text: str) -> None:
        done = run_in(stage, ["/bin/sh", "-c", text])
        assert done.returncode == 0, f"RUN {text}\n{done.stdout}{done.stderr}"


def _lay_foundation(stage: BuildStage) -> None:
    for path in (*_MOUNTED, "/tmp", "/image"):
        stage.path(path).mkdir(parents=True)
    # The images call it python.
    (stage.path("/image") / "python").symlink_to(os.path.realpath(sys.executable))


def run_in(stage: BuildStage, command: Sequence[str], *, as_user: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in the file system of a stage: as root, or with `as_user` as its user, on read-only files."""
    entering = enter_stage(stage, command, as_user=as_user)
    done = subprocess.run(entering, capture_output=True, text=True, check=False, timeout=100)
    leave_stage(stage)
    return done


def enter_stage(
    stage: BuildStage,
    command: Sequence[str],
    *,
    as_user: bool,
    environment: Mapping[str, str] = _NOTHING,
    folders: Mapping[str, Path] = _NOTHING,
) -> tuple[str, ...]:
    """Return the command that runs another one in a stage, with `environment` added to that of the stage.

    The user has read-only files, and /tmp as in the manifests. `folders` of this machine are mounted read-only, by
    their paths in the stage.
    """
    unshare = _find_unshare()
    assert unshare, "nobody may enter a stage here"
    variables = {**stage.environment, "PYTHONPATH": _DEPENDENCIES, **environment}
    if not as_user:
        # The programs of build requirements, which pip would put there.
        variables |= {**_PIP, "HOME": "/tmp", "PATH": f"{stage.environment['PATH']}:{sys.prefix}/bin"}
    assignments = [f"{name}={value}" for name, value in variables.items()]
    user = _become(stage.user) if as_user else []
    enter = ["chroot", str(stage.folder), *user, "env", "-i", "-C", stage.workdir, *assignments, *command]
    script = " && ".join([*_mount_commands(stage, folders, read_only=as_user), f"exec {shlex.join(enter)}"])
    return (*unshare, "sh", "-c", script)


def _mount_commands(stage: BuildStage, folders: Mapping[str, Path], *, read_only: bool) -> list[str]:
    root = shlex.quote(str(stage.folder))
    mounted = {**{path: Path(path) for path in _MOUNTED}, **folders}
    for path in folders:
        stage.path(path).mkdir(parents=True, exist_ok=True)
    return [
        f"mount --bind {root} {root}",
        *([f"mount -o remount,bind,ro {root}", f"mount -t tmpfs tmpfs {root}/tmp"] if read_only else []),
        *(
            f"mount --rbind -o ro {shlex.quote(str(source))} {root}{shlex.quote(path)}"
            for path, source in mounted.items()
        ),
    ]


def leave_stage(stage: BuildStage) -> None:
    """Undo the mounts of a command that has ended."""
    if stage.folder.is_mount():  # The mounts of a chroot that is not private reach this namespace.
        subprocess.run(["umount", "--recursive", "--lazy", stage.folder], check=True)


def may_enter_stages() -> bool:
    """Return whether this machine lets this user mount file systems in a namespace of its own."""
    return bool(_find_unshare())


@cache
def _find_unshare() -> tuple[str, ...]:
    """Return the command that runs another one in a new namespace of mounts, or nothing where none may do that."""
    for command in (_UNSHARE, _UNSHARE_IN_CHROOT):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return ()


def _become(user: str) -> list[str]:
    """Return the command that runs another one as `user`, `uid:gid`."""
    uid, _, gid = user.partition(":")
    if os.geteuid() == 0:
        return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    # Only the user of the tests exists here. It gets the name that the image gives it.
    return ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}"]
