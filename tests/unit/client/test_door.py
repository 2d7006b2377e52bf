"""The tokens of a session are sent to the door that issued them and to no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from parley_client import DEFAULT_DOOR, Client, Door, FileStore, MemoryStore, Session, Tls, Unauthenticated, WrongDoor
from parley_client.cli.errors import explain_error
from parley_client.door import resolve_door

HOME = Door("chat.example.com:443", Tls(b"-----BEGIN CERTIFICATE-----\xe9", "chat"))
SESSION = Session("aa", "bb", "alice", "an-access-token", 1e12, "a-refresh-token", door=Door("127.0.0.1:9"))


@pytest.mark.parametrize(
    ("text", "door"),
    [
        (None, Door(DEFAULT_DOOR)),
        ("localhost:8080", Door("localhost:8080")),
        ("[::1]:8080", Door("[::1]:8080")),
        ("Chat.Example.com:443", Door("chat.example.com:443")),
        ("http://localhost", Door("localhost:80")),
        ("http://localhost:8080/", Door("localhost:8080")),
        ("https://chat.example.com", Door("chat.example.com:443", Tls())),
        ("HTTPS://chat.example.com:8443/", Door("chat.example.com:8443", Tls())),
    ],
)
def test_address_or_url_names_a_door(text: str | None, door: Door) -> None:
    assert Client(text).door == door


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", ":8080", "host:", "host:port", "host:0", "host:65536", "::1:80", "a host:80", "host:80 "),
        *("host:80/path", "https://host/path", "https://", "ftp://host:80", "dns:///host:80", "user@host:80"),
    ],
)
def test_other_text_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=f"is not HOST:PORT, for example {DEFAULT_DOOR}, nor https://HOST") as refused:
        Client(text)
    assert str(refused.value).startswith(f"“{text}”")


def test_url_without_tls_contradicts_certificates() -> None:
    with pytest.raises(ValueError, match="without TLS"):
        Client("http://localhost:8080", tls=Tls())


@pytest.mark.parametrize(
    ("requested", "tls", "door"),
    [
        (None, None, HOME),
        (None, Tls(b"new"), Door(HOME.address, Tls(b"new"))),
        ("chat.example.com:443", None, HOME),
        ("https://chat.example.com", None, HOME),
        ("chat.example.com:443", Tls(b"new"), Door(HOME.address, Tls(b"new"))),
        ("http://chat.example.com:443", None, Door(HOME.address)),
        ("other.example.com:443", None, Door("other.example.com:443")),
    ],
)
def test_door_and_certificates_default_to_those_of_the_session(
    requested: str | None, tls: Tls | None, door: Door
) -> None:
    assert resolve_door(requested, tls, HOME) == door


@pytest.mark.parametrize(
    ("bound", "door", "belongs"),
    [
        (HOME, HOME, True),
        (HOME, Door(HOME.address, Tls()), True),
        (HOME, Door(HOME.address), False),
        (HOME, Door("chat.example.com:80"), False),
        (Door("a:1"), Door("a:1", Tls()), True),
        (Door("a:1"), Door("b:1"), False),
        (None, Door(DEFAULT_DOOR), True),
        (None, Door("a:1"), False),
    ],
)
def test_session_belongs_to_its_address_and_never_loses_tls(bound: Door | None, door: Door, belongs: bool) -> None:
    assert replace(SESSION, door=bound).belongs_to(door) is belongs


@pytest.mark.parametrize("door", [None, Door("a:1"), Door("a:1", Tls()), HOME])
def test_door_is_stored_with_the_session(tmp_path: Path, door: Door | None) -> None:
    store = FileStore(tmp_path / "alice.json")
    store.save(replace(SESSION, door=door))
    assert FileStore(store.path).load() == replace(SESSION, door=door)


def test_session_of_an_earlier_version_belongs_to_the_default_door(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    store.save(SESSION)
    fields = json.loads(store.path.read_text())
    del fields["door"]
    store.path.write_text(json.dumps(fields))
    assert Client(store=store).door == Door(DEFAULT_DOOR)
    with pytest.raises(WrongDoor, match=f"belongs to the door {DEFAULT_DOOR}, not to a:1"):
        Client("a:1", store=store).connect()


@pytest.fixture
async def stranger() -> AsyncIterator[tuple[str, list[object]]]:
    """Yield the address of a server that is not the session's door, and the connections that it gets."""
    connections: list[object] = []

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}", connections


async def export(client: Client) -> None:
    async for _ in client.accounts.export():
        pass


async def listen(client: Client) -> None:
    async with client.connect():
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.accounts.get_profile(),
        lambda client: client.accounts.refresh(),
        lambda client: client.accounts.logout(),
        lambda client: client.messages.send("ab" * 16, "hello"),
        lambda client: client.locate(),
        export,
        listen,
    ],
)
async def test_another_door_gets_no_token(
    stranger: tuple[str, list[object]], use: Callable[[Client], Awaitable[object]]
) -> None:
    address, connections = stranger
    store = MemoryStore()
    store.save(SESSION)
    async with Client(address, store=store, retry_timeout_s=0.0) as client:
        with pytest.raises(WrongDoor) as refused:
            await use(client)
    assert connections == []
    assert store.load() == SESSION
    said = explain_error(refused.value, address)
    assert f"belongs to 127.0.0.1:9, so it was not sent to {address}" in said
    assert f"`parley login NAME --door {address}`" in said


async def test_moved_session_is_used_at_the_new_door(stranger: tuple[str, list[object]]) -> None:
    address, connections = stranger
    store = MemoryStore()
    store.save(SESSION)
    async with Client(address, store=store, retry_timeout_s=0.0) as client:
        client.move_session()
        with pytest.raises(Exception, match="UNAVAILABLE"):
            await client.accounts.get_profile()
    assert connections
    assert store.load() == replace(SESSION, door=Door(address))
    assert Client(store=store).door == Door(address)


def test_nobody_has_no_session_to_move() -> None:
    with pytest.raises(Unauthenticated):
        Client("a:1").move_session()
