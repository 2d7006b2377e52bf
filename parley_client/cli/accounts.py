"""The commands `register`, `login`, `logout` and `whoami`."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from parley_client.cli import options, session_files
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.passwords import ChosenPasswordOption, PasswordOption
from parley_client.cli.text import one_cell
from parley_client.client import Client

app = typer.Typer()
LoginNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The login name.")]


@app.command()
def register(
    name: LoginNameArgument,
    password: ChosenPasswordOption = "",
    display_name: Annotated[str, typer.Option("--display-name", help="The name that others see.")] = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Create an account and sign in."""

    async def run() -> None:
        store = session_files.session_file(name)
        async with open_client(door, options.tls_config(tls, ca), store=store) as client:
            await client.accounts.register(name, password, display_name=display_name, device_name=_device_name())
            welcome = f"Welcome, {one_cell(display_name or name)}. Start a conversation with `parley chat NAME`."
            _print_session(as_json, client, welcome)

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
    """Sign in to an account on this machine."""

    async def run() -> None:
        store = session_files.session_file(name)
        async with open_client(door, options.tls_config(tls, ca), store=store) as client:
            previous = client.session
            # The device of another door is not known at this one.
            device_id = previous.device_id if previous and previous.belongs_to(client.door) else ""
            await client.accounts.login(name, password, device_name=_device_name(), device_id=device_id)
            _print_session(as_json, client, f"Signed in as {name}.")

    run_command(run(), door)


@app.command()
def logout(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Sign out on this machine."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            login_name = client.session.login_name if client.session else name
            await client.accounts.logout()
        print_json({"login_name": login_name}) if as_json else print_line(f"{login_name} is signed out.")

    run_command(run(), door)


@app.command("move-session")
def move_session(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Keep the session at another address of the same Parley, which --door names: its tokens are sent there."""

    async def run() -> None:
        if not door:
            raise CommandError("Name the new address with --door HOST:PORT.")
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            session = client.move_session()
        if as_json:
            print_json({"login_name": session.login_name, "door": client.door.address})
        else:
            print_line(f"The session of {session.login_name} belongs to {client.door} now.", style="green")

    run_command(run(), door)


@app.command()
def whoami(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show the signed-in account and its home server."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            profile, home = await client.accounts.get_profile(), await client.locate()
            device = client.session.device_id if client.session else ""
        if as_json:
            print_json(
                {
                    "login_name": profile.login_name,
                    "user_id": profile.user_id,
                    "device_id": device,
                    "home": home,
                    "door": client.door.address,
                }
            )
            return
        print_line(f"{one_cell(profile.display_name)} ({profile.login_name}), user {profile.user_id}")
        print_line(f"device {device}, home {home or 'unknown'}, door {client.door}")

    run_command(run(), door)


def _print_session(as_json: bool, client: Client, sentence: str) -> None:
    session = client.session
    if as_json and session:
        ids = {"user_id": session.user_id, "device_id": session.device_id}
        print_json({"login_name": session.login_name, **ids})
    else:
        print_line(sentence, style="green")


def _device_name() -> str:
    return f"parley on {socket.gethostname()}"[:64]
