"""Wrong options of `parley admin` are refused in a sentence, before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from google.protobuf.duration_pb2 import Duration
from typer.testing import CliRunner

from devstack.options import DEFAULT_BASE_PORT, DEFAULT_DOOR, DEFAULT_MEDIA_PORT
from devstack.ports import LOOPBACK, Ports
from devstack.startup_summary import DEFAULT_CREDENTIAL as PRINTED_CREDENTIAL
from parley.internal.v1 import notify_pb2
from parley_command.admin.app import app
from parley_command.admin.options import DEFAULT_CREDENTIAL, DEFAULT_ETCD, deployment_of, parse_duration
from parley_command.admin.pushes import remark_on

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("log-level chat-0 loud", "'loud' is not one of"),
        ("log-level chat-0 debug --for 3x", "'3x' is not a time such as 90s, 10m or 2h, 24h at most."),
        ("log-level chat-0 debug --for 25h", "'25h' is not a time"),
        ("log-level chat-0 default --for 10m", "--for belongs to a level other than default."),
        ("ring --user al", "'al' is neither a login name nor the id of a user"),
        ("ring --conversation Lunch", "'Lunch' is not the id of a conversation"),
        (f"ring --user alice --conversation {ID}", "Name a user or a conversation, not both."),
        ("servers --etcd localhost", "'localhost' is not an address of the form HOST:PORT."),
        ("servers --address host:port", "'host:port' is not an address"),
        ("servers --address a:1,b:2", "'a:1,b:2' has several addresses; name one server, which then lists the others."),
        ("top --once --limit 101", "--limit"),
        ("dead-letters requeue", "Name the ids of dead letters, or --all."),
        ("dead-letters delete 1-0 --all", "Name the ids of dead letters, or --all."),
        ("dead-letters delete first", "'first' is not the id of a dead letter"),
    ],
)
def test_wrong_word_is_refused_in_a_sentence(words: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    refused = CliRunner().invoke(app, words.split())
    assert refused.exit_code == 2
    assert complaint in " ".join(refused.output.split())


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("24h", 86400)])
def test_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "10", "1.5h", "86401s", "١٠m"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


def test_defaults_are_those_of_make_run() -> None:
    ports = Ports(DEFAULT_DOOR, DEFAULT_MEDIA_PORT, DEFAULT_BASE_PORT)
    assert f"{LOOPBACK}:{ports.etcd}" == DEFAULT_ETCD
    assert str(DEFAULT_CREDENTIAL) == PRINTED_CREDENTIAL


def test_several_addresses_of_etcd_are_separated_by_commas() -> None:
    assert deployment_of("a:1, b:2", "", Path("x")).etcd == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("server_id", "taken", "idle_s", "remark"),
    [
        ("notify-0", 3, 1, ""),
        ("notify-0", 0, 600, ""),
        ("notify-0", 3, 31, "stuck"),
        ("notify-9", 3, 31, "not registered; others claim its events"),
        ("notify-9", 0, 31, "not registered"),
    ],
)
def test_consumer_that_needs_a_look_is_remarked_on(server_id: str, taken: int, idle_s: int, remark: str) -> None:
    consumer = notify_pb2.QueueConsumer(server_id=server_id, taken_events=taken, idle_duration=Duration(seconds=idle_s))
    assert remark_on(consumer, {"notify-0"}) == remark
