"""`devices list` and `devices revoke`."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from parley.chat.v1.account_pb2 import Device
from parley_client.cli import options
from parley_client.cli.command import client, perform, say, say_json
from parley_client.cli.errors import Sorry
from parley_client.cli.formatting import clean
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots

app = typer.Typer(no_args_is_help=True, help="See where the account is signed in, and sign devices out.")


@app.command("list")
def list_devices(
    name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None
) -> None:
    """Show the devices of the account, oldest first: id, name, and when each was last seen."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            for device in await me.accounts.devices():
                say_json(device) if as_json else say(_line(device))

    perform(run(), door)


@app.command()
def revoke(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its id, or the beginning of it.")],
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Sign another device of the account out, at once."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            found = _found(await me.accounts.devices(), device)
            await me.accounts.revoke(found.device_id)
        if as_json:
            say_json({"device_id": found.device_id})
        else:
            say(f"{_called(found)} is signed out.", style="green")

    perform(run(), door)


def _found(devices: list[Device], named: str) -> Device:
    found = [each for each in devices if each.device_id.startswith(named.lower())]
    if len(found) != 1:
        many = "Several of your devices have ids that begin" if found else "None of your devices has an id that begins"
        raise Sorry(f"{many} with {named}. See `parley devices list`.")
    if found[0].current:
        raise Sorry("That is this machine. Sign it out with `parley logout`.")
    return found[0]


def _called(device: Device) -> str:
    return f"“{clean(device.name)}”" if device.name else f"The device {device.device_id[:8]}"


def _line(device: Device) -> str:
    seen = device.last_seen_time.ToDatetime(tzinfo=UTC).astimezone()
    here = "  (this machine)" if device.current else ""
    return f"{device.device_id}  {seen:%Y-%m-%d %H:%M}  {clean(device.name)}{here}"
