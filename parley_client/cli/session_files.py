"""The session files of the accounts signed in on this machine, one per account."""

from __future__ import annotations

import os
from pathlib import Path

from parley_client.cli.errors import CommandError
from parley_client.session import FileStore


def config_folder() -> Path:
    """Return the folder of the session files: $XDG_CONFIG_HOME/parley, by default ~/.config/parley."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "parley"


def session_file(name: str) -> FileStore:
    """Return the session file of an account, existing or not. Raise CommandError for an impossible name."""
    if not name or any(char in name for char in "/\\\0") or name.startswith("."):
        raise CommandError(f"“{name}” cannot be the name of an account.")
    return FileStore(config_folder() / f"{name.lower()}.json")


def signed_in_names() -> list[str]:
    """Return the login names that are signed in on this machine, sorted."""
    files = config_folder().glob("*.json")
    return sorted(file.stem for file in files if not file.name.endswith(".state.json"))


def select_session(name: str) -> FileStore:
    """Return the session file of `name` or, if it is empty, of the only account signed in.

    Raise CommandError if `name` is not signed in, or if not exactly one account is.
    """
    signed_in = signed_in_names()
    if name:
        if name.lower() not in signed_in:
            raise CommandError(f"{name} is not signed in here. Sign in with `parley login {name}`.")
        return session_file(name)
    if not signed_in:
        raise CommandError("Nobody is signed in here. Start with `parley register NAME` or `parley login NAME`.")
    if len(signed_in) > 1:
        raise CommandError(f"{', '.join(signed_in)} are signed in here. Choose one with --as NAME.")
    return session_file(signed_in[0])
