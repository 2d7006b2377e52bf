"""The commands for operators: `trace USER`, `test USER`, `dead-letters` and `requeue`; each calls any notify server."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from notify_service.operator_connection import CALL_TIMEOUT_S, NoServerFound, open_stub
from notify_service.settings import OperatorSettings
from parley.internal.v1 import directory_pb2, notify_pb2
from parley.internal.v1.directory_pb2_grpc import DirectoryServiceStub
from parley.internal.v1.notify_pb2_grpc import NotifyAdminServiceStub
from parley.notify.v1 import notify_pb2 as public_pb2
from servicekit import telemetry
from servicekit.config import ConfigurationError
from servicekit.failure import Failure

LOGIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
USER_ID: Final = re.compile(r"[0-9a-f]{32}")
PAGE: Final = 1000
# As of a process that ended by SIGPIPE.
READER_LEFT: Final = 141


class UnknownUser(Exception):
    """No user has a login name; the message is a sentence for the operator."""


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0, 1 after a failure, which is printed, READER_LEFT if nobody reads."""
    options = _parser().parse_args(arguments)
    # Standard output has the answer alone, and errors are told in sentences.
    telemetry.configure_logging("console", "error")
    try:
        settings = OperatorSettings.load()
        asyncio.run(_run(options, settings))
        sys.stdout.flush()
    except (ConfigurationError, NoServerFound, UnknownUser, Failure) as error:
        print(error.message if isinstance(error, Failure) else error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has left, such as `head`. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    except OSError as error:
        print(f"The output could not be written: {error.strerror}.", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _user(value: str) -> str:
    """Return a login name or the id of a user. Raise ArgumentTypeError if it can be neither."""
    if not LOGIN_NAME.fullmatch(value):
        raise argparse.ArgumentTypeError(
            f"{value!r} is neither a login name nor the id of a user, 32 lower-case hex digits"
        )
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m notify_service",
        description="Without a command: run a notify server. The commands call any running notify server; they read "
        "PARLEY_ETCD_ENDPOINTS and PARLEY_SERVICE_CREDENTIAL_FILE.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    trace = commands.add_parser("trace", help="list the last decisions about pushes to a user")
    trace.add_argument("user", type=_user, help="the login name of the user, or the id")
    test = commands.add_parser("test", help="send a test notification to the devices of a user")
    test.add_argument("user", type=_user, help="the login name of the user, or the id")
    commands.add_parser("dead-letters", help="list the pushes that failed for good, the oldest first")
    requeue = commands.add_parser("requeue", help="send pushes that failed for good again")
    requeue.add_argument("ids", nargs="*", metavar="ID", help="the ids of dead letters; none: all of them")
    return parser


async def _run(options: argparse.Namespace, settings: OperatorSettings) -> None:
    user_id = await _find_user(settings, options.user) if "user" in options else ""
    async with open_stub(settings, "notify", NotifyAdminServiceStub) as admin:
        match options.command:
            case "trace":
                await _trace(admin, user_id)
            case "test":
                await _test(admin, user_id)
            case "dead-letters":
                await _show_letters(admin)
            case "requeue":
                await _requeue(admin, options.ids)


async def _find_user(settings: OperatorSettings, name_or_id: str) -> str:
    """Return the id of a user, found by the login name in the directory of chat. Raise UnknownUser if there is none."""
    if USER_ID.fullmatch(name_or_id):
        return name_or_id
    async with open_stub(settings, "chat", DirectoryServiceStub) as directory:
        request = directory_pb2.FindUserRequest(login_name=name_or_id)
        user_id = (await directory.FindUser(request, timeout=CALL_TIMEOUT_S)).user_id
    if not user_id:
        raise UnknownUser(f"There is no user {name_or_id}.")
    return str(user_id)


async def _trace(admin: Any, user_id: str) -> None:
    response = await admin.TracePushes(notify_pb2.TracePushesRequest(user_id=user_id), timeout=CALL_TIMEOUT_S)
    for decision in response.decisions:
        print(_describe_decision(decision))
    if not response.decisions:
        print("no decision in the last 7 days")


async def _test(admin: Any, user_id: str) -> None:
    response = await admin.SendTestPush(notify_pb2.SendTestPushRequest(user_id=user_id), timeout=CALL_TIMEOUT_S)
    for result in response.results:
        print(f"device {result.device_id}  {_provider(result.provider)}  {_outcome(result.outcome, result)}")
    if not response.results:
        print("the user has no push token")


async def _show_letters(admin: Any) -> None:
    found = 0
    async for letter in _list_letters(admin):
        found += 1
        print(_describe_letter(letter))
    if not found:
        print("no push failed for good", file=sys.stderr)


async def _requeue(admin: Any, ids: Sequence[str]) -> None:
    chosen = list(ids) or [letter.id async for letter in _list_letters(admin)]
    count = 0
    for start in range(0, len(chosen), PAGE):
        request = notify_pb2.RequeueDeadLettersRequest(ids=chosen[start : start + PAGE])
        count += (await admin.RequeueDeadLetters(request, timeout=CALL_TIMEOUT_S)).requeued_count
    print(f"{count} of {len(chosen)} requeued")


async def _list_letters(admin: Any) -> AsyncIterator[notify_pb2.DeadLetter]:
    request = notify_pb2.ListDeadLettersRequest(page_size=PAGE)
    while True:
        page = await admin.ListDeadLetters(request, timeout=CALL_TIMEOUT_S)
        for letter in page.dead_letters:
            yield letter
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _describe_decision(decision: public_pb2.PushDecision) -> str:
    device = f"  device {decision.device_id}  {_provider(decision.provider)}" if decision.device_id else ""
    return (
        f"{decision.decide_time.ToJsonString()}  conversation {decision.conversation_id}  seq {decision.seq}{device}  "
        f"{_outcome(decision.outcome, decision)}"
    )


def _describe_letter(letter: notify_pb2.DeadLetter) -> str:
    whom = f"  user {letter.user_id}  device {letter.device_id}" if letter.user_id else ""
    where = f"  conversation {letter.conversation_id}" if letter.conversation_id else ""
    return f"{letter.id}  {letter.fail_time.ToJsonString()}{whom}{where}  attempts {letter.attempts}  {letter.reason}"


def _outcome(outcome: int, source: public_pb2.PushDecision | public_pb2.TestPushResult) -> str:
    name = public_pb2.PushOutcome.Name(public_pb2.PushOutcome.ValueType(outcome))
    reason = f": {source.provider_reason}" if source.provider_reason else ""
    return name.removeprefix("PUSH_OUTCOME_").lower().replace("_", " ") + reason


def _provider(provider: int) -> str:
    name = public_pb2.PushProvider.Name(public_pb2.PushProvider.ValueType(provider))
    return name.removeprefix("PUSH_PROVIDER_").lower()
