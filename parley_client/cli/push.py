"""The commands `push trace`, `push test`, `push tokens`, `push register` and `push unregister`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from parley_client.cli import options, push_preferences
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory
from parley_client.cli.entry_kinds import fetch_entry_kinds
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.push_text import (
    PROVIDERS,
    decision_fields,
    describe_decision,
    describe_test_result,
    describe_token,
    device_label,
    result_fields,
    token_fields,
)
from parley_client.cli.text import one_cell
from parley_client.client import Client
from parley_client.errors import NotAllowed, NotFound
from parley_client.push_tokens import (
    ApnsEnvironment,
    ApnsToken,
    DeviceToken,
    FcmToken,
    WebPushSubscription,
)

_FOREGROUND = (
    "Messages that arrive while a device of yours is in the foreground are not pushed; only the last of them is listed."
)
_NOTHING_SENT = (
    "None of your devices has a push token, so nothing was sent. Apps register theirs when they start. To try it with "
    "`make run`, register any text with `parley push register --fcm TEXT`: its pushes are written to "
    ".parley/data/notify/pushes.jsonl."
)

app = typer.Typer(no_args_is_help=True, help="Show why something was pushed to you or was not, and test it.")


@app.command()
def trace(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show the last 20 decisions about pushes to you, newest first: time, outcome and reason, entry, conversation.

    An entry is a message, a reaction or another change of a conversation, with its number.
    Messages that arrive while a device of yours is in the foreground are not pushed. Only the last of them is listed,
    for as long as a device is connected.
    """

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            decisions = await client.push.list_decisions()
            if as_json:
                for decision in decisions:
                    print_json(decision_fields(decision))
                return
            titles = await _fetch_titles(client, {each.conversation_id for each in decisions})
            kinds = await fetch_entry_kinds(client, {(each.conversation_id, each.seq) for each in decisions})
            for decision in decisions:
                outcome = describe_decision(decision, _own_device_id(client))
                kind = kinds[decision.conversation_id, decision.seq]
                source = f"{kind} {decision.seq} of {one_cell(titles[decision.conversation_id])}"
                print_line(f"{decision.time.astimezone():%Y-%m-%d %H:%M:%S}  {outcome}  {source}")
        if not decisions:
            print_line("Nothing was decided about pushes to you in the last 7 days.", style="dim")
        print_line(_FOREGROUND, style="dim")

    run_command(run(), door)


@app.command("test")
def send_test(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Push a test notification to your own devices now, and show the answers of the push providers."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            results = await client.push.send_test()
            if not results:
                raise CommandError(_NOTHING_SENT)
            for result in results:
                if as_json:
                    print_json(result_fields(result))
                else:
                    print_line(describe_test_result(result, _own_device_id(client)))

    run_command(run(), door)


@app.command()
def tokens(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """List your devices that have a push token, newest first: device id, time, provider, language, last push."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            registered = await client.push.list_tokens()
            for token in registered:
                if as_json:
                    print_json(token_fields(token))
                else:
                    print_line(describe_token(token, _own_device_id(client)))
        if not registered and not as_json:
            print_line("None of your devices has a push token.", style="dim")

    run_command(run(), door)


@app.command()
def register(
    fcm: Annotated[str, typer.Option(metavar="TOKEN", help="A token of Firebase Cloud Messaging.")] = "",
    apns: Annotated[str, typer.Option(metavar="TOKEN", help="A token of Apple's service, in hex digits.")] = "",
    topic: Annotated[str, typer.Option(metavar="ID", help="With --apns: the bundle id of the app.")] = "",
    sandbox: Annotated[bool, typer.Option("--sandbox", help="With --apns: the app is run from Xcode.")] = False,
    web_push: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the PushSubscription of a browser as JSON.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(metavar="TAG", help="The language of notifications, such as pt-BR.", show_default="en")
    ] = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Register a push token for this machine, in place of its previous one.

    Apps do this with the SDK. With `make run` any text is a token, and pushes are not sent but written to
    .parley/data/notify/pushes.jsonl: `parley push register --fcm my-laptop`.
    """

    async def run() -> None:
        token = _read_token(fcm, apns, topic, sandbox, web_push)
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            try:
                registered = await client.push.register_token(token, language=language)
            except NotAllowed:
                raise CommandError("This deployment does not use this push provider.") from None
        if as_json:
            print_json(token_fields(registered))
        else:
            provider = PROVIDERS[registered.provider]
            print_line(f"This machine gets pushes over {provider} now. Try it with `parley push test`.", style="green")

    run_command(run(), door)


@app.command()
def unregister(
    device: Annotated[
        str | None,
        typer.Argument(metavar="DEVICE", help="The device id, or its first characters; this machine if missing."),
    ] = None,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Remove the push token of this machine, or of another device of yours."""
    if device is not None and not device:
        raise typer.BadParameter("The id of a device is missing.", param_hint="DEVICE")

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            own_id = _own_device_id(client)
            registered = [token.device_id for token in await client.push.list_tokens()]
            device_id = _select_device(registered, device.lower() if device else own_id, own_id)
            await client.push.unregister_token(device_id)
        if as_json:
            print_json({"device_id": device_id})
        else:
            print_line(f"Nothing is pushed to {device_label(device_id, own_id)} any more.", style="green")

    run_command(run(), door)


app.registered_commands += push_preferences.app.registered_commands


async def _fetch_titles(client: Client, conversation_ids: Iterable[str]) -> dict[str, str]:
    """Return the titles of conversations by id; of one that the user may not see any more, the beginning of its id."""
    directory = UserDirectory(client)

    async def fetch_title(conversation_id: str) -> str:
        try:
            return await directory.conversation_title(await client.conversations.get(conversation_id))
        except NotFound:
            return conversation_id[:8]

    ids = list(conversation_ids)
    return dict(zip(ids, await asyncio.gather(*map(fetch_title, ids)), strict=True))


def _own_device_id(client: Client) -> str:
    return client.session.device_id if client.session else ""


def _select_device(device_ids: list[str], prefix: str, own_device_id: str) -> str:
    """Return the id that begins with `prefix`. Raise CommandError if not exactly one does."""
    matches = [each for each in device_ids if each.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    if prefix == own_device_id:
        raise CommandError("This machine has no push token. See `parley push tokens`.")
    count = "Several devices with a push token have an id" if matches else "No device with a push token has an id"
    raise CommandError(f"{count} that begins with {prefix}. See `parley push tokens`.")


def _read_token(fcm: str, apns: str, topic: str, sandbox: bool, web_push: Path | None) -> DeviceToken:
    """Return the token of the options. Raise BadParameter if they do not name exactly one."""
    if sum(map(bool, (fcm, apns, web_push))) != 1:
        raise typer.BadParameter("Name one token, with --fcm, --apns or --web-push.")
    if (topic or sandbox) and not apns:
        raise typer.BadParameter("--topic and --sandbox belong to --apns.")
    if web_push is not None:
        return _read_subscription(web_push)
    if fcm:
        return FcmToken(fcm)
    if not topic:
        raise typer.BadParameter("--apns needs the bundle id of the app: --topic ID.")
    return ApnsToken(apns, topic, ApnsEnvironment.SANDBOX if sandbox else ApnsEnvironment.PRODUCTION)


def _read_subscription(file: Path) -> WebPushSubscription:
    """Return the subscription in a file. Raise BadParameter if it has none, UnicodeError if it is not UTF-8."""
    document = file.read_text(encoding="utf-8")
    try:
        return WebPushSubscription.from_json(document)
    except ValueError as error:
        raise typer.BadParameter(f"{file} has no subscription: {error}.") from None
