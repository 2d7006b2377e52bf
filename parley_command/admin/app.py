"""The typer application of `parley admin …`.

What a command needs is imported when it runs, so that other commands of `parley` start as fast as before.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import typer

from parley_client.cli.command import run_command
from parley_client.cli.options import JsonOption
from parley_command.admin.options import (
    ConversationOption,
    Deployment,
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

Action: TypeAlias = "Callable[[Fleet], Awaitable[None]]"
"""The work of a command on the servers of a deployment."""

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


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Action]], Callable[..., Action]]:
    """Register the decorated function as a command, which also has the options of `deployment_of`.

    The function checks its own options, and returns the work on the servers, which are looked for afterwards.
    """

    def register(choose_action: Callable[..., Action]) -> Callable[..., Action]:
        own = inspect.signature(choose_action, eval_str=True)
        shared = inspect.signature(deployment_of, eval_str=True).parameters

        def run(**options: Any) -> None:
            deployment = deployment_of(**{each: options.pop(each) for each in shared})
            _run(choose_action(**options), deployment)

        parameters = [*own.parameters.values(), *shared.values()]
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
        group.command(name or choose_action.__name__, help=inspect.getdoc(choose_action))(run)
        return choose_action

    return register


@command(app)
def servers(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="The id of a server: show its settings as well.")
    ] = "",
    as_json: JsonOption = False,
) -> Action:
    """List the servers of all services: state, version, time since the start, log level, revision of the ring."""
    from parley_command.admin.servers import show_server, show_servers

    return lambda fleet: show_server(fleet, server, as_json) if server else show_servers(fleet, as_json)


@command(app)
def ring(
    service: Annotated[str, typer.Option("--service", metavar="NAME", help="The service.")] = "chat",
    user: UserOption = "",
    conversation: ConversationOption = "",
    as_json: JsonOption = False,
) -> Action:
    """Show the ring of a service: the share of each server, and how each server sees the ring.

    With --user or --conversation, name the chat server that is home to the user or owns the conversation.
    """
    from parley_command.admin.servers import locate, show_ring

    if user and conversation:
        raise typer.BadParameter("Name a user or a conversation, not both.")
    if user or conversation:
        return lambda fleet: locate(fleet, user, conversation, as_json)
    return lambda fleet: show_ring(fleet, service, as_json)


@command(app)
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once, and exit.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="The length of each list.")] = 10,
    interval: Annotated[float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="The interval.")] = 2.0,
    as_json: JsonOption = False,
) -> Action:
    """Show the hottest conversations, the deepest outboxes and the slowest send lanes right now, until Ctrl-C."""
    from parley_command.admin.top import show_top

    return lambda fleet: show_top(fleet, limit, interval, once=once, as_json=as_json)


@command(app)
def queues(as_json: JsonOption = False) -> Action:
    """Show the queue of pushes: its length, its oldest event, its consumers, and which of them are stuck."""
    from parley_command.admin.pushes import show_queues

    return lambda fleet: show_queues(fleet, as_json)


@command(app)
def drain(
    server: ServerArgument,
    force: Annotated[bool, typer.Option("--force", help="Also drain the only server of a service.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until the server is drained.")] = False,
    as_json: JsonOption = False,
) -> Action:
    """Drain a server as SIGTERM does: its clients move to other servers, nothing is lost, and its process ends.

    Whatever runs the process decides if it is started again: Kubernetes does, systemd with Restart=on-failure does not.
    """
    from parley_command.admin.servers import drain as drain_server

    return lambda fleet: drain_server(fleet, server, force=force, wait=not no_wait, as_json=as_json)


@command(app, "log-level")
def log_level(
    server: ServerArgument,
    level: Annotated[Level, typer.Argument(metavar="LEVEL", help="debug, info, warning, error, or default.")],
    duration: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="Restore the level of the settings after a time, such as 10m."),
    ] = "",
    as_json: JsonOption = False,
) -> Action:
    """Change the log level of a server while it runs; `default` is the level of its settings."""
    from parley_command.admin.servers import set_log_level

    if duration and level == "default":
        raise typer.BadParameter("--for belongs to a level other than default.")
    duration_s = parse_duration(duration) if duration else None
    return lambda fleet: set_log_level(fleet, server, level, duration_s, as_json)


@command(dead_letters, "list")
def list_letters(as_json: JsonOption = False) -> Action:
    """List the pushes that failed for good, the oldest first: id, time, user, device, conversation, reason."""
    from parley_command.admin.pushes import show_letters

    return lambda fleet: show_letters(fleet, as_json)


@command(dead_letters)
def requeue(ids: LettersArgument = None, everything: AllOption = False, as_json: JsonOption = False) -> Action:
    """Send pushes that failed for good again."""
    from parley_command.admin.pushes import requeue_letters

    chosen = _choose_letters(ids, everything)
    return lambda fleet: requeue_letters(fleet, chosen, as_json)


@command(dead_letters)
def delete(ids: LettersArgument = None, everything: AllOption = False, as_json: JsonOption = False) -> Action:
    """Delete pushes that failed for good."""
    from parley_command.admin.pushes import delete_letters

    chosen = _choose_letters(ids, everything)
    return lambda fleet: delete_letters(fleet, chosen, as_json)


@command(push)
def trace(user: UserArgument, as_json: JsonOption = False) -> Action:
    """Show the last 20 decisions about pushes to a user, and why."""
    from parley_command.admin.pushes import trace_pushes

    return lambda fleet: trace_pushes(fleet, user, as_json)


@command(push, "test")
def send_test(user: UserArgument, as_json: JsonOption = False) -> Action:
    """Send a test notification to the devices of a user now, and show the answers of the push providers."""
    from parley_command.admin.pushes import send_test_push

    return lambda fleet: send_test_push(fleet, user, as_json)


def _choose_letters(ids: list[str] | None, everything: bool) -> list[str]:
    """Return the chosen ids; an empty list means all. Raise BadParameter unless either is chosen."""
    if bool(ids) == everything:
        raise typer.BadParameter("Name the ids of dead letters, or --all.")
    return ids or []


def _run(action: Action, deployment: Deployment) -> None:
    from parley_command.admin.fleet import open_fleet

    async def run() -> None:
        async with open_fleet(deployment) as fleet:
            await action(fleet)

    run_command(run(), "")
