"""The telemetry of a service: one JSON object per log line, and metrics over HTTP."""

import json
import logging
import socket
import urllib.request
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import REGISTRY

from servicekit import telemetry
from servicekit.config import ConfigurationError


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("logger", ["ours", "a library"])
def test_log_line_is_a_json_object_on_stderr(logger: str, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("json", "info")
    if logger == "ours":
        structlog.get_logger(logger).info("it happened", count=2)
    else:
        logging.getLogger(logger).warning("it %s", "happened")
    printed = capsys.readouterr()
    line = json.loads(printed.err)
    assert line["event"] == "it happened"
    assert line["logger"] == logger
    assert line["timestamp"].endswith("Z")
    assert printed.out == ""


def test_warnings_and_errors_are_counted() -> None:
    telemetry.configure_logging("json", "info")

    def counted(event: str) -> float:
        where = {"logger": "ours", "event": event}
        return REGISTRY.get_sample_value("parley_log_events_total", where) or 0.0

    before = counted("it went wrong")
    structlog.get_logger("ours").warning("it went wrong", conversation_id="a" * 32)
    structlog.get_logger("ours").error("it went wrong")
    structlog.get_logger("ours").info("it went well")
    assert counted("it went wrong") == before + 2
    assert counted("it went well") == 0


def test_traceback_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("json", "info")
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        structlog.get_logger("ours").error("it broke", exc_info=error)
    line = json.loads(capsys.readouterr().err)
    assert line["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_events_below_the_level_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("console", "warning")
    structlog.get_logger("ours").info("quiet")
    structlog.get_logger("ours").warning("loud")
    printed = capsys.readouterr().err
    assert "quiet" not in printed
    assert "loud" in printed


def test_unknown_log_level_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="PARLEY_LOG_LEVEL"):
        telemetry.configure_logging("json", "chatty")


def test_metrics_are_served_until_closed() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    close = telemetry.start_metrics(address)
    try:
        with urllib.request.urlopen(f"http://{address}/metrics") as page:
            assert b"python_info" in page.read()
        with pytest.raises(ConfigurationError, match=address):
            telemetry.start_metrics(address)
    finally:
        close()
    telemetry.start_metrics(address)()
