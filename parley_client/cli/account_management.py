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
from parley_client.cli.command import client, perform, say, say_json
from parley_client.cli.errors import Sorry
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots
from parley_client.cli.passwords import AnotherPassword, Password
from parley_client.client import Client
from parley_client.errors import Unauthenticated

app = typer.Typer()


@app.command()
def password(
    old: Password = "",
    new: AnotherPassword = "",
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Set another password; all other devices are signed out. From a pipe: the old one, then the new, a line each."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            with _confirming("The old password is wrong."):
                await me.accounts.change_password(old, new)
            who = me.session.login_name if me.session else name
        if as_json:
            say_json({"login_name": who})
        else:
            say(f"{who} has another password, and every other device is signed out.", style="green")

    perform(run(), door)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the archive, a ZIP; “-”: to stdout.")],
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Save everything Parley keeps about you: a ZIP of JSON files. With --json: the file and its size in bytes."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            if str(file) == "-":
                async for part in me.accounts.export():
                    sys.stdout.buffer.write(part)
                return
            size = await _save(me, file)
        if as_json:
            say_json({"file": str(file), "bytes": size})
        else:
            say(f"{file} has {size:,} bytes.", style="green")

    perform(run(), door)


@app.command("delete-account")
def delete_account(
    name: As = "",
    password: Password = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether this is meant.")] = False,
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """End the account, for good. What you said stays with those who have it."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            who = me.session.login_name if me.session else name
            if not yes and not _is_meant(who):
                raise Sorry("Nothing was deleted.")
            with _confirming("The password is wrong. Nothing was deleted."):
                await me.accounts.delete_account(password)
        say_json({"login_name": who}) if as_json else say(f"The account {who} is no more.")

    perform(run(), door)


@contextmanager
def _confirming(otherwise: str) -> Iterator[None]:
    """Somebody who is signed in shows the password once more. Raises Sorry."""
    try:
        yield
    except Unauthenticated as error:
        if error.reason == "CREDENTIALS_INVALID":
            raise Sorry(otherwise) from None
        raise


def _is_meant(who: str) -> bool:
    if not sys.stdin.isatty():
        raise Sorry("Say that this is meant with --yes.")
    answer: str = typer.prompt(f"Type {who} to end this account for good")
    return answer.strip() == who


async def _save(me: Client, file: Path) -> int:
    with _whole(file) as archive:
        async for part in me.accounts.export():
            archive.write(part)
        return archive.tell()


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """A file that appears once it is whole, readable by its owner alone. Raises Sorry."""
    if file.is_dir():
        raise Sorry(f"{file} is a folder. Name a file in it.")
    if not file.parent.is_dir():
        raise Sorry(f"There is no folder {file.parent}.")
    descriptor, draft = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as written:
            yield written
        Path(draft).replace(file)
    finally:
        Path(draft).unlink(missing_ok=True)
