"""`password`, `export` and `delete-account`: what concerns an account as a whole."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, run_command, print_line, print_json
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, JsonOption, CaOption
from parley_client.cli.passwords import NewPasswordOption, PasswordOption
from parley_client.client import Client
from parley_client.errors import Unauthenticated

app = typer.Typer()


@app.command()
def password(
    old: PasswordOption = "",
    new: NewPasswordOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Set another password; all other devices are signed out. From a pipe: the old one, then the new, a line each."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            with _explain_wrong_password("The old password is wrong."):
                await me.accounts.change_password(old, new)
            who = me.session.login_name if me.session else name
        if as_json:
            print_json({"login_name": who})
        else:
            print_line(f"{who} has another password, and every other device is signed out.", style="green")

    run_command(run(), door)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the archive, a ZIP; “-”: to stdout.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Save everything Parley keeps about you: a ZIP of JSON files. With --json: the file and its size in bytes."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            if str(file) == "-":
                async for part in me.accounts.export():
                    sys.stdout.buffer.write(part)
                return
            size = await _save_archive(me, file)
        if as_json:
            print_json({"file": str(file), "bytes": size})
        else:
            print_line(f"{file} has {size:,} bytes.", style="green")

    run_command(run(), door)


@app.command("delete-account")
def delete_account(
    name: AsOption = "",
    password: PasswordOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether this is meant.")] = False,
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """End the account, for good. What you said stays with those who have it."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            who = me.session.login_name if me.session else name
            if not yes and not _confirm_deletion(who):
                raise CommandError("Nothing was deleted.")
            with _explain_wrong_password("The password is wrong. Nothing was deleted."):
                await me.accounts.delete_account(password)
        print_json({"login_name": who}) if as_json else print_line(f"The account {who} is no more.")

    run_command(run(), door)


@contextmanager
def _explain_wrong_password(message: str) -> Iterator[None]:
    """Somebody who is signed in shows the password once more. Raises Sorry."""
    try:
        yield
    except Unauthenticated as error:
        if error.reason == "CREDENTIALS_INVALID":
            raise CommandError(message) from None
        raise


def _confirm_deletion(login_name: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError("Say that this is meant with --yes.")
    answer: str = typer.prompt(f"Type {login_name} to end this account for good")
    return answer.strip() == login_name


async def _save_archive(me: Client, file: Path) -> int:
    with _write_atomically(file) as archive:
        async for part in me.accounts.export():
            archive.write(part)
        return archive.tell()


@contextmanager
def _write_atomically(file: Path) -> Iterator[BinaryIO]:
    """A file that appears once it is whole, readable by its owner alone. Raises Sorry."""
    if file.is_dir():
        raise CommandError(f"{file} is a folder. Name a file in it.")
    if not file.parent.is_dir():
        raise CommandError(f"There is no folder {file.parent}.")
    descriptor, draft = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as written:
            yield written
        Path(draft).replace(file)
    finally:
        Path(draft).unlink(missing_ok=True)
