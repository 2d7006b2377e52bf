"""The typer application of `parley admin …`.

What the commands need is imported when one of them runs, so that other commands of `parley` start as fast as before.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import typer

from parley_client.cli.command import run_command
from parley_client.cli.options import JsonOption
from parley_command.admin.options import (
    DEFAULT_CREDENTIAL,
    DEFAULT_ETCD,
    AddressOption,
    ConversationOption,
    CredentialOption,
    Deployment,
    EtcdOption,
    ServerArgument,
    UserArgument,
    UserOption,
    deployment_of,
    parse_duration,
)

if TYPE_CHECKING:
    from parley_command.admin.fleet import Fleet

app = typer.Typer(
    no_args_is_help=True,
    help="For operators: look at the servers of a deployment, and control them, with the credential of the services.",
)
dead_letters = typer.Typer(no_args_is_help=True, help="List, requeue and delete the pushes that failed for good.")
push = typer.Typer(no_args_is_help=True, help="Show why something was pushed to a user or was not, and test it.")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(push, name="push")

Level: TypeAlias = Literal["debug", "info", "warning", "error", "default"]
"""A log level, or that of the settings."""

_LETTER_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


def _check_letters(ids: list[str] | None) -> list[str]:
    for each in ids or ():
        if not _LETTER_ID.fullmatch(each):
            raise typer.BadParameter(f"{each!r} is not the id of a dead letter, such as 1764633600000-0.")
    return ids or []


LettersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID", callback=_check_letters, help="The ids of dead letters.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters.")]


@app.command()
def servers(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="The id of a server: show its settings as well.")
    ] = "",
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """List the servers of all services: state, version, time since the start, log level, revision of the ring."""

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.servers import show_server, show_servers

        await (show_server(fleet, server, as_json) if server else show_servers(fleet, as_json))

    _run(run, deployment_of(etcd, address, credential))


@app.command()
def ring(
    service: Annotated[str, typer.Option("--service", metavar="NAME", help="The service.")] = "chat",
    user: UserOption = "",
    conversation: ConversationOption = "",
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Show the ring of a service: the share of each server, and how each server sees the ring.

    With --user or --conversation, name the chat server that is home to the user or owns the conversation.
    """
    if user and conversation:
        raise typer.BadParameter("Name a user or a conversation, not both.")

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.servers import locate, show_ring

        if user or conversation:
            await locate(fleet, user, conversation, as_json)
        else:
            await show_ring(fleet, service, as_json)

    _run(run, deployment_of(etcd, address, credential))


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once, and exit.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="The length of each list.")] = 10,
    interval: Annotated[float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="The interval.")] = 2.0,
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Show the hottest conversations, the deepest outboxes and the slowest send lanes right now, until Ctrl-C."""

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.top import show_top

        await show_top(fleet, limit, interval, once=once, as_json=as_json)

    _run(run, deployment_of(etcd, address, credential))


@app.command()
def queues(
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Show the queue of pushes: its length, its oldest event, its consumers, and which of them are stuck."""

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.pushes import show_queues

        await show_queues(fleet, as_json)

    _run(run, deployment_of(etcd, address, credential))


@app.command()
def drain(
    server: ServerArgument,
    force: Annotated[bool, typer.Option("--force", help="Also drain the only server of a service.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until the server is drained.")] = False,
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Drain a server as SIGTERM does: its clients move to other servers, nothing is lost, and its process ends.

    Whatever runs the process decides if it is started again: Kubernetes does, systemd with Restart=on-failure does not.
    """

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.servers import drain as drain_server

        await drain_server(fleet, server, force=force, wait=not no_wait, as_json=as_json)

    _run(run, deployment_of(etcd, address, credential))


@app.command("log-level")
def log_level(
    server: ServerArgument,
    level: Annotated[Level, typer.Argument(metavar="LEVEL", help="debug, info, warning, error, or default.")],
    duration: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="Restore the level of the settings after a time, such as 10m."),
    ] = "",
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Change the log level of a server while it runs; `default` is the level of its settings."""
    if duration and level == "default":
        raise typer.BadParameter("--for belongs to a level other than default.")
    duration_s = parse_duration(duration) if duration else None

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.servers import set_log_level

        await set_log_level(fleet, server, level, duration_s, as_json)

    _run(run, deployment_of(etcd, address, credential))


@dead_letters.command("list")
def list_letters(
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """List the pushes that failed for good, the oldest first: id, time, user, device, conversation, reason."""

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.pushes import show_letters

        await show_letters(fleet, as_json)

    _run(run, deployment_of(etcd, address, credential))


@dead_letters.command()
def requeue(
    ids: LettersArgument = None,
    everything: AllOption = False,
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Send pushes that failed for good again."""
    chosen = _choose_letters(ids, everything)

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.pushes import requeue_letters

        await requeue_letters(fleet, chosen, as_json)

    _run(run, deployment_of(etcd, address, credential))


@dead_letters.command()
def delete(
    ids: LettersArgument = None,
    everything: AllOption = False,
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Delete pushes that failed for good."""
    chosen = _choose_letters(ids, everything)

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.pushes import delete_letters

        await delete_letters(fleet, chosen, as_json)

    _run(run, deployment_of(etcd, address, credential))


@push.command()
def trace(
    user: UserArgument,
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Show the last 20 decisions about pushes to a user, and why."""

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.pushes import trace_pushes

        await trace_pushes(fleet, user, as_json)

    _run(run, deployment_of(etcd, address, credential))


@push.command("test")
def send_test(
    user: UserArgument,
    etcd: EtcdOption = DEFAULT_ETCD,
    address: AddressOption = "",
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    as_json: JsonOption = False,
) -> None:
    """Send a test notification to the devices of a user now, and show the answers of the push providers."""

    async def run(fleet: Fleet) -> None:
        from parley_command.admin.pushes import send_test_push

        await send_test_push(fleet, user, as_json)

    _run(run, deployment_of(etcd, address, credential))


def _choose_letters(ids: list[str] | None, everything: bool) -> list[str]:
    """Return the chosen ids; an empty list means all. Raise BadParameter unless either is chosen."""
    if bool(ids) == everything:
        raise typer.BadParameter("Name the ids of dead letters, or --all.")
    return ids or []


def _run(run: Callable[[Fleet], Awaitable[None]], deployment: Deployment) -> None:
    from parley_command.admin.fleet import open_fleet

    async def run_with_fleet() -> None:
        async with open_fleet(deployment) as fleet:
            await run(fleet)

    run_command(run_with_fleet(), "")
