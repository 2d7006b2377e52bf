"""`devices list` and `devices revoke`."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from parley.chat.v1.account_pb2 import Device
from parley_client.cli import options
from parley_client.cli.command import open_client, run_command, print_line, print_json
from parley_client.cli.errors import CommandError
from parley_client.cli.formatting import printable
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, JsonOption, CaOption

app = typer.Typer(no_args_is_help=True, help="See where the account is signed in, and sign devices out.")


@app.command("list")
def list_devices(
    name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None
) -> None:
    """Show the devices of the account, oldest first: id, name, and when each was last seen."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            for device in await me.accounts.devices():
                print_json(device) if as_json else print_line(_format_device(device))

    run_command(run(), door)


@app.command()
def revoke(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its id, or the beginning of it.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Sign another device of the account out, at once."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            found = _select_device(await me.accounts.devices(), device)
            await me.accounts.revoke(found.device_id)
        if as_json:
            print_json({"device_id": found.device_id})
        else:
            print_line(f"{_device_label(found)} is signed out.", style="green")

    run_command(run(), door)


def _select_device(devices: list[Device], id_prefix: str) -> Device:
    found = [each for each in devices if each.device_id.startswith(id_prefix.lower())]
    if len(found) != 1:
        many = "Several of your devices have ids that begin" if found else "None of your devices has an id that begins"
        raise CommandError(f"{many} with {id_prefix}. See `parley devices list`.")
    if found[0].current:
        raise CommandError("That is this machine. Sign it out with `parley logout`.")
    return found[0]


def _device_label(device: Device) -> str:
    return f"“{printable(device.name)}”" if device.name else f"The device {device.device_id[:8]}"


def _format_device(device: Device) -> str:
    seen = device.last_seen_time.ToDatetime(tzinfo=UTC).astimezone()
    here = "  (this machine)" if device.current else ""
    return f"{device.device_id}  {seen:%Y-%m-%d %H:%M}  {printable(device.name)}{here}"
