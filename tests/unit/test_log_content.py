"""Log lines have the ids of what is handled, and neither content nor secrets, whatever raised and in which words."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from contextvars import copy_context

import pytest
import structlog

from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Content, Text
from parley.internal.v1.mesh_pb2 import Append, MeshFrame
from servicekit import telemetry
from servicekit.auth import Claims
from servicekit.errors import StoreUnavailable
from servicekit.log_context import Handling, bind_caller, bind_request
from servicekit.log_exceptions import log_unhandled_exceptions

CANARY = "canary-in-the-text"
TRACE = "0af7651916cd43dd8448eb211c80319c"
USER, CONVERSATION = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def send() -> chat_pb2.ConnectRequest:
    traceparent = f"00-{TRACE}-b7ad6b7169203331-01"
    content = Content(text=Text(body=CANARY))
    request = chat_pb2.SendMessageRequest(conversation_id=CONVERSATION, content=content, traceparent=traceparent)
    return chat_pb2.ConnectRequest(send_message=request)


def test_line_has_caller_conversation_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("json", "info")

    def handle() -> None:
        bind_caller(Claims(USER, "c" * 32, 0))
        with Handling(send()):
            structlog.get_logger("ours").info("frame refused")
        with Handling(MeshFrame(append=Append(user_id="d" * 32, conversation_id="e" * 200))):
            structlog.get_logger("ours").info("frame refused", conversation_id=CONVERSATION)
        structlog.get_logger("ours").info("stream closed")

    copy_context().run(handle)
    first, second, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["user_id"], first["device_id"]) == (USER, "c" * 32)
    assert (first["conversation_id"], first["trace_id"]) == (CONVERSATION, TRACE)
    assert (second["user_id"], second["conversation_id"]) == (USER, CONVERSATION)
    assert "trace_id" not in second
    assert CANARY not in json.dumps(first)
    assert last.keys().isdisjoint(("conversation_id", "client_message_id", "trace_id"))


def test_id_that_was_not_checked_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("json", "info")

    def handle() -> None:
        bind_request(MeshFrame(append=Append(conversation_id="e" * 200)))
        structlog.get_logger("ours").info("frame refused")

    copy_context().run(handle)
    assert json.loads(capsys.readouterr().err)["conversation_id"] == "e" * 64


@pytest.mark.parametrize("format_", ["json", "console"])
def test_messages_and_variables_of_exceptions_are_not_logged(
    format_: telemetry.LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure_logging(format_, "debug")
    token = CANARY
    try:
        try:
            raise ValueError(f"cannot read {token!r}")
        except ValueError as error:
            raise ExceptionGroup("two failed", [KeyError(token), StoreUnavailable("the store is away")]) from error
    except ExceptionGroup as error:
        structlog.get_logger("ours").error("it broke", exc_info=error)
        logging.getLogger("a library").exception("it broke too")
    printed = capsys.readouterr().err
    assert CANARY not in printed
    assert all(name in printed for name in ("ValueError", "KeyError", "the store is away", "test_log_content.py"))
    assert printed.count("it broke") == 2


def test_libraries_log_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("json", "debug")
    logging.getLogger("pymongo.command").debug(CANARY)
    logging.getLogger("httpx2").info("HTTP Request: POST https://push.example/%s", CANARY)
    structlog.get_logger("ours").debug("it happened")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["it happened"]


async def test_exception_of_a_lost_task_is_logged_without_its_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    telemetry.configure_logging("json", "info")
    loop = asyncio.get_running_loop()
    log_unhandled_exceptions(loop)
    loop.call_exception_handler({"message": f"Exception in callback f({CANARY})", "exception": ValueError(CANARY)})
    loop.set_exception_handler(None)
    printed = capsys.readouterr().err
    assert json.loads(printed)["event"] == "task or callback failed"
    assert CANARY not in printed
