"""`register`, `login`, `logout` and `whoami`."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from parley_client.cli import options, session_files
from parley_client.cli.command import client, perform, say, say_json
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots
from parley_client.cli.passwords import NewPassword, Password
from parley_client.client import Client

app = typer.Typer()
Name = Annotated[str, typer.Argument(help="The login name.")]


@app.command()
def register(
    name: Name,
    password: NewPassword = "",
    display_name: Annotated[str, typer.Option("--display-name", help="The name to show to others.")] = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Make an account and sign in."""

    async def run() -> None:
        store = session_files.store_of(name)
        async with client(door, options.tls(tls, ca), store=store) as me:
            await me.accounts.register(name, password, display_name=display_name, device_name=_here())
            welcome = f"Welcome, {display_name or name}. Talk to somebody with `parley chat NAME`."
            _tell(as_json, me, welcome)

    perform(run(), door)


@app.command()
def login(
    name: Name,
    password: Password = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Sign this machine in to an account."""

    async def run() -> None:
        store = session_files.store_of(name)
        before = store.load()
        async with client(door, options.tls(tls, ca), store=store) as me:
            device_id = before.device_id if before else ""
            await me.accounts.login(name, password, device_name=_here(), device_id=device_id)
            _tell(as_json, me, f"Signed in as {name}.")

    perform(run(), door)


@app.command()
def logout(name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None) -> None:
    """Sign this machine out."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            who = me.session.login_name if me.session else name
            await me.accounts.logout()
        say_json({"login_name": who}) if as_json else say(f"{who} is signed out.")

    perform(run(), door)


@app.command()
def whoami(name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None) -> None:
    """Tell who is signed in, and where the account lives."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            profile, home = await me.accounts.profile(), await me.locate()
            device = me.session.device_id if me.session else ""
        if as_json:
            say_json({"login_name": profile.login_name, "user_id": profile.user_id, "device_id": device, "home": home})
            return
        say(f"{profile.display_name} ({profile.login_name}), user {profile.user_id}")
        say(f"device {device}, home {home or 'not known now'}")

    perform(run(), door)


def _tell(as_json: bool, me: Client, sentence: str) -> None:
    session = me.session
    if as_json and session:
        ids = {"user_id": session.user_id, "device_id": session.device_id}
        say_json({"login_name": session.login_name, **ids})
    else:
        say(sentence, style="green")


def _here() -> str:
    return f"parley on {socket.gethostname()}"[:64]
