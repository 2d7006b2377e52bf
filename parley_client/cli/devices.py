"""The commands `devices list` and `devices revoke`."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from parley.chat.v1.account_pb2 import Device
from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.text import one_cell

app = typer.Typer(no_args_is_help=True, help="List the account's devices, and sign devices out.")


@app.command("list")
def list_devices(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """List the devices of the account, oldest first: id, last seen, name."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            for device in await client.accounts.list_devices():
                print_json(device) if as_json else print_line(_format_device(device))

    run_command(run(), door)


@app.command()
def revoke(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device id, or its first characters.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Sign out another device of the account immediately."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            selected = _select_device(await client.accounts.list_devices(), device)
            await client.accounts.revoke_device(selected.device_id)
        if as_json:
            print_json({"device_id": selected.device_id})
        else:
            print_line(f"{_device_label(selected)} is signed out.", style="green")

    run_command(run(), door)


def _select_device(devices: list[Device], id_prefix: str) -> Device:
    matches = [device for device in devices if device.device_id.startswith(id_prefix.lower())]
    if len(matches) != 1:
        count = "Several device ids start" if matches else "No device id starts"
        raise CommandError(f"{count} with {id_prefix}. List your devices with `parley devices list`.")
    if matches[0].current:
        raise CommandError("That is this machine. Sign it out with `parley logout`.")
    return matches[0]


def _device_label(device: Device) -> str:
    return f"“{one_cell(device.name)}”" if device.name else f"The device {device.device_id[:8]}"


def _format_device(device: Device) -> str:
    seen_time = device.last_seen_time.ToDatetime(tzinfo=UTC).astimezone()
    suffix = "  (this machine)" if device.current else ""
    return f"{device.device_id}  {seen_time:%Y-%m-%d %H:%M}  {one_cell(device.name)}{suffix}"
