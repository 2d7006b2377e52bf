"""`register`, `login`, `logout` and `whoami`."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from parley_client.cli import options, session_files
from parley_client.cli.command import open_client, run_command, print_line, print_json
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, JsonOption, CaOption
from parley_client.cli.passwords import ChosenPasswordOption, PasswordOption
from parley_client.client import Client

app = typer.Typer()
LoginNameArgument = Annotated[str, typer.Argument(help="The login name.")]


@app.command()
def register(
    name: LoginNameArgument,
    password: ChosenPasswordOption = "",
    display_name: Annotated[str, typer.Option("--display-name", help="The name to show to others.")] = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Make an account and sign in."""

    async def run() -> None:
        store = session_files.session_file(name)
        async with open_client(door, options.tls_config(tls, ca), store=store) as me:
            await me.accounts.register(name, password, display_name=display_name, device_name=_device_name())
            welcome = f"Welcome, {display_name or name}. Talk to somebody with `parley chat NAME`."
            _print_session(as_json, me, welcome)

    run_command(run(), door)


@app.command()
def login(
    name: LoginNameArgument,
    password: PasswordOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Sign this machine in to an account."""

    async def run() -> None:
        store = session_files.session_file(name)
        before = store.load()
        async with open_client(door, options.tls_config(tls, ca), store=store) as me:
            device_id = before.device_id if before else ""
            await me.accounts.login(name, password, device_name=_device_name(), device_id=device_id)
            _print_session(as_json, me, f"Signed in as {name}.")

    run_command(run(), door)


@app.command()
def logout(name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None) -> None:
    """Sign this machine out."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            who = me.session.login_name if me.session else name
            await me.accounts.logout()
        print_json({"login_name": who}) if as_json else print_line(f"{who} is signed out.")

    run_command(run(), door)


@app.command()
def whoami(name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None) -> None:
    """Tell who is signed in, and where the account lives."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            profile, home = await me.accounts.profile(), await me.locate()
            device = me.session.device_id if me.session else ""
        if as_json:
            print_json({"login_name": profile.login_name, "user_id": profile.user_id, "device_id": device, "home": home})
            return
        print_line(f"{profile.display_name} ({profile.login_name}), user {profile.user_id}")
        print_line(f"device {device}, home {home or 'not known now'}")

    run_command(run(), door)


def _print_session(as_json: bool, me: Client, sentence: str) -> None:
    session = me.session
    if as_json and session:
        ids = {"user_id": session.user_id, "device_id": session.device_id}
        print_json({"login_name": session.login_name, **ids})
    else:
        print_line(sentence, style="green")


def _device_name() -> str:
    return f"parley on {socket.gethostname()}"[:64]
