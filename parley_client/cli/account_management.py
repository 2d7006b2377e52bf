"""The commands `password`, `export` and `delete-account`."""

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
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.passwords import NewPasswordOption, PasswordOption
from parley_client.cli.stdin_lines import read_lines
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
    """Change the password and sign out all other devices. A pipe holds the old password, then the new, a line each."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            with _explain_wrong_password("The old password is wrong."):
                await client.accounts.change_password(old, new)
            login_name = client.session.login_name if client.session else name
        if as_json:
            print_json({"login_name": login_name})
        else:
            print_line(f"The password of {login_name} is changed, and every other device is signed out.", style="green")

    run_command(run(), door)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ZIP file to write; “-” is stdout.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Save everything Parley stores about you as a ZIP of JSON files. --json prints the file and its size in bytes."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            if str(file) == "-":
                async for chunk in client.accounts.export():
                    sys.stdout.buffer.write(chunk)
                return
            size = await _save_archive(client, file)
        if as_json:
            print_json({"file": str(file), "bytes": size})
        else:
            print_line(f"Saved {size:,} bytes to {file}.", style="green")

    run_command(run(), door)


@app.command("delete-account")
def delete_account(
    name: AsOption = "",
    password: PasswordOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking for confirmation.")] = False,
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Delete the account permanently. Messages you sent stay with their recipients."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            login_name = client.session.login_name if client.session else name
            if not yes and not await _confirm_deletion(login_name):
                raise CommandError("Nothing was deleted.")
            with _explain_wrong_password("The password is wrong. Nothing was deleted."):
                await client.accounts.delete_account(password)
        print_json({"login_name": login_name}) if as_json else print_line(f"The account {login_name} is deleted.")

    run_command(run(), door)


@contextmanager
def _explain_wrong_password(message: str) -> Iterator[None]:
    """Raise CommandError with `message` if the block raises Unauthenticated for a wrong password."""
    try:
        yield
    except Unauthenticated as error:
        if error.reason == "CREDENTIALS_INVALID":
            raise CommandError(message) from None
        raise


async def _confirm_deletion(login_name: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError("Confirm the deletion with --yes.")
    typer.echo(f"Type {login_name} to delete this account permanently: ", nl=False)
    answer = await anext(read_lines(sys.stdin.fileno()), "")
    return answer.strip() == login_name


async def _save_archive(client: Client, file: Path) -> int:
    with _write_atomically(file) as archive:
        async for chunk in client.accounts.export():
            archive.write(chunk)
        return archive.tell()


@contextmanager
def _write_atomically(file: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file that replaces `file` on success; only its owner can read it.

    Raise CommandError if `file` is a folder or its folder does not exist.
    """
    if file.is_dir():
        raise CommandError(f"{file} is a folder. Name a file in it.")
    if not file.parent.is_dir():
        raise CommandError(f"There is no folder {file.parent}.")
    descriptor, temporary = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as archive:
            yield archive
        Path(temporary).replace(file)
    finally:
        Path(temporary).unlink(missing_ok=True)
