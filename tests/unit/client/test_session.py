"""A session on disk is private, complete, and belongs to one device."""

from pathlib import Path

import pytest

from parley.chat.v1 import chat_pb2
from parley_client import DamagedFile, DeviceState, FileStore, Session

SESSION = Session("aa", "bb", "alice", "token", 1.0, "refresh", "home:1", 0.5)


def test_session_and_state_are_loaded_unchanged(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "parley" / "alice.json")
    assert store.load() is None
    store.save(SESSION)
    state = DeviceState(chat_pb2.Cursor(generation=3, time_ms=4), {"c": 9}, {"c": (9, 2)})
    store.save_state(state)
    again = FileStore(store.path)
    assert again.load() == SESSION
    assert again.load_state() == state


def test_printed_session_shows_no_token() -> None:
    session = Session("aa", "bb", "alice", "the-access-token", 1.0, "the-refresh-token")
    assert "alice" in repr(session)
    assert "token" not in repr(session).replace("access_token_ends", "")


def test_session_files_are_private(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "parley" / "alice.json")
    store.save(SESSION)
    store.save_state(DeviceState())
    modes = {path.stat().st_mode & 0o777 for path in store.path.parent.iterdir()}
    assert modes == {0o600}
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


def test_new_device_does_not_inherit_state(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    store.save(SESSION)
    store.save_state(DeviceState(last_seqs={"c": 9}))
    store.save(Session("aa", "cc", "alice", "token", 1.0, "refresh"))
    assert store.load_state() == DeviceState()
    store.save(None)
    assert store.load() is None


@pytest.mark.parametrize("kept", ["", "{", "[]", "null", '"words"', '{"something": "else"}', "\x00\xff"])
def test_damaged_session_file_is_named(tmp_path: Path, kept: str) -> None:
    store = FileStore(tmp_path / "alice.json")
    store.path.write_text(kept, encoding="latin-1")
    with pytest.raises(DamagedFile, match=r"alice\.json holds no session of Parley; remove it"):
        store.load()


def test_session_with_wrong_field_type_is_damaged(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    store.save(SESSION)
    store.path.write_text(store.path.read_text().replace('"access_token_ends": 1.0', '"access_token_ends": "soon"'))
    with pytest.raises(DamagedFile):
        store.load()


@pytest.mark.parametrize("door", ['"a:1"', "3", "{}", '{"address": 3, "tls": null}', '{"address": "a:1", "tls": {}}'])
def test_session_with_damaged_door_is_damaged(tmp_path: Path, door: str) -> None:
    store = FileStore(tmp_path / "alice.json")
    store.save(SESSION)
    store.path.write_text(store.path.read_text().replace('"door": null', f'"door": {door}'))
    with pytest.raises(DamagedFile):
        store.load()


@pytest.mark.parametrize(
    "kept",
    ["{", "[]", '{"cursor": 3}', '{"cursor": [1]}', '{"last_seqs": 3}', '{"unconfirmed": [1]}'],
)
def test_damaged_state_file_is_named(tmp_path: Path, kept: str) -> None:
    (tmp_path / "alice.state.json").write_text(kept)
    with pytest.raises(DamagedFile, match=r"alice\.state\.json holds no device state; remove it"):
        FileStore(tmp_path / "alice.json").load_state()
