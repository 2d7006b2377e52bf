"""The accounts signed in on this machine: one session file each, under the user's configuration folder."""

from __future__ import annotations

import os
from pathlib import Path

from parley_client.cli.errors import CommandError
from parley_client.session import FileStore


def config_folder() -> Path:
    """Where sessions are kept: $XDG_CONFIG_HOME/parley, usually ~/.config/parley."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "parley"


def session_file(name: str) -> FileStore:
    """Where the session of an account is kept, signed in or not."""
    if not name or any(sign in name for sign in "/\\\0") or name.startswith("."):
        raise CommandError(f"“{name}” cannot be the name of an account.")
    return FileStore(config_folder() / f"{name.lower()}.json")


def signed_in_names() -> list[str]:
    """Who is signed in here."""
    files = config_folder().glob("*.json")
    return sorted(file.stem for file in files if not file.name.endswith(".state.json"))


def select_session(name: str) -> FileStore:
    """The session of `name`, or of the only account that is signed in. Raises Sorry."""
    here = signed_in_names()
    if name:
        if name.lower() not in here:
            raise CommandError(f"{name} is not signed in here. Sign in with `parley login {name}`.")
        return session_file(name)
    if not here:
        raise CommandError("Nobody is signed in here. Begin with `parley register NAME` or `parley login NAME`.")
    if len(here) > 1:
        raise CommandError(f"{', '.join(here)} are signed in here. Say who you are with --as NAME.")
    return session_file(here[0])
