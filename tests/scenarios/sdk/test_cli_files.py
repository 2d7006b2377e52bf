"""Files on the command line: sent, listed and saved, with names that forge nothing, and continued after Ctrl-C."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from parley_client import FileStore
from tests.eventually import eventually
from tests.scenarios.sdk.people import People
from tests.scenarios.sdk.test_cli_output import assert_harmless
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

# Enough parts that an interruption finds some of them missing.
LARGE_BYTES = 160 << 20


@pytest.fixture
async def names(terminal: Terminal, people: People) -> list[str]:
    return await people.sign_in(terminal, "alice", "bob")


def picture(path: Path) -> Path:
    content = BytesIO()
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(content, "JPEG")
    path.write_bytes(content.getvalue())
    return path


def names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


async def test_picture_is_sent_listed_and_saved(terminal: Terminal, names: list[str], tmp_path: Path) -> None:
    alice, bob = names
    path, folder = picture(tmp_path / "cat.jpg"), tmp_path / "saved"
    folder.mkdir()
    sent = json.loads(await terminal.ok("send", bob, "--as", alice, "--file", str(path), "--caption", "look", "--json"))
    [line] = (await terminal.ok("history", alice, "--as", bob, "--seqs")).splitlines()
    assert line.endswith("kB] look")
    assert "[picture cat.jpg, 640 × 480, " in line
    assert line.split()[0] == sent["seq"]
    download = ("download", alice, sent["seq"], "--as", bob, "--output", str(folder))
    assert await terminal.ok(*download) == f"Saved {line.split(', ')[2].partition(']')[0]} to {folder / 'cat.jpg'}.\n"
    again = json.loads(await terminal.ok(*download, "--json"))
    assert again["file"] == str(folder / "cat (1).jpg")
    assert again["media_id"] == sent["media_id"]
    await terminal.ok(*download, "--thumbnail")
    assert Image.open(folder / "cat.webp").size == (320, 240)
    await terminal.ok("download", sent["media_id"], "--as", bob, "-o", str(folder / "mine.jpg"))
    await terminal.ok(*download, "--overwrite")
    assert sorted(each.name for each in folder.iterdir()) == ["cat (1).jpg", "cat.jpg", "cat.webp", "mine.jpg"]
    assert Image.open(folder / "mine.jpg").size == (640, 480)


async def test_name_of_a_file_forges_nothing(terminal: Terminal, names: list[str], tmp_path: Path) -> None:
    alice, bob = names
    path, folder = tmp_path / "passwd\x1b[31m\n19:07 boss  you are fired\u202e", tmp_path / "saved"
    path.write_bytes(b"x")
    folder.mkdir()
    await terminal.ok("send", bob, "--as", alice, "--file", str(path))
    for words in [("history", alice, "--as", bob), ("history", alice, "--as", bob, "--json")]:
        out = await terminal.ok(*words)
        assert_harmless(out)
        assert len(out.splitlines()) == 1
    seq = (await terminal.ok("history", alice, "--as", bob, "--seqs")).split()[0]
    out = await terminal.ok("download", alice, seq, "--as", bob, "--output", str(folder))
    assert_harmless(out)
    assert [each.name for each in folder.iterdir()] == ["passwd[31m19_07 boss  you are fired"]


async def test_interrupted_command_names_the_one_that_continues(
    terminal: Terminal, names: list[str], tmp_path: Path
) -> None:
    alice, bob = names
    path, saved = tmp_path / "film.bin", tmp_path / "saved.bin"
    content = os.urandom(1 << 20) * (LARGE_BYTES >> 20)
    path.write_bytes(content)
    records = FileStore(Path(terminal.environment["XDG_CONFIG_HOME"]) / "parley" / f"{alice}.json").uploads_path
    send = ("send", bob, "--as", alice, "--file", str(path))

    def upload_began() -> bool:
        return records.exists() and bool(json.loads(records.read_text())[0]["media_id"])

    err = await _interrupt(terminal, send, upload_began)
    assert err == f"Interrupted. Continue with `parley {' '.join(send)}`.\n"
    assert upload_began()
    await terminal.ok(*send)
    assert not records.exists()
    seq = (await terminal.ok("history", alice, "--as", bob, "--seqs")).split()[0]
    download = ("download", alice, seq, "--as", bob, "--output", str(saved))
    partial = tmp_path / "saved.bin.part.json"

    def download_began() -> bool:
        return partial.exists() and bool(json.loads(partial.read_text())["finished"])

    err = await _interrupt(terminal, download, download_began)
    assert err == f"Interrupted. Continue with `parley {' '.join(download)}`.\n"
    assert download_began()
    assert not saved.exists()
    await terminal.ok(*download)
    assert hashlib.sha256(saved.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert not partial.exists()


async def _interrupt(terminal: Terminal, words: tuple[str, ...], began: object) -> str:
    """Run a command, and press Ctrl-C once `began` is true; return what it says."""
    child = await terminal.begin(*words)
    await eventually(began, 30.0)  # type: ignore[arg-type]
    child.send_signal(signal.SIGINT)
    _, err = await child.communicate()
    assert child.returncode == 130, err
    return err.decode()


async def test_mistakes_are_explained(terminal: Terminal, names: list[str], tmp_path: Path) -> None:
    alice, bob = names
    terminal.environment["PARLEY_AS"] = alice
    empty = tmp_path / "empty"
    empty.touch()
    await terminal.ok("send", bob, "hello")
    seq = (await terminal.ok("history", bob, "--seqs")).split()[0]
    for words, sentence in [
        (("send", bob, "--file", str(empty)), "The file empty is empty."),
        (("send", bob, "hello", "--file", str(empty)), "A file has no text but a caption"),
        (("send", bob, "hello", "--caption", "x"), "--caption needs a file"),
        (("send", "--file", str(empty)), "Name a user (NAME) or a group"),
        (("download", bob, seq), f"The message {seq} has no file."),
        (("download", bob, "999"), "There is no such message"),
        (("download", "0" * 32), "There is no such file, or you may not see it."),
        (("download", bob, seq, "--preview", "--thumbnail"), "Choose one of"),
    ]:
        assert sentence in await terminal.refused(*words), words
    code, _, err = await terminal.run("send", bob, "--file", str(tmp_path / "missing"))
    assert code == 2
    assert "does not exist" in err


async def test_file_is_sent_to_a_group_as_a_reply(terminal: Terminal, names: list[str], tmp_path: Path) -> None:
    alice, bob = names
    terminal.environment["PARLEY_AS"] = alice
    await terminal.ok("groups", "create", "Friday", bob)
    first = json.loads(await terminal.ok("send", "--group", "Friday", "a picture?", "--json"))
    path = picture(tmp_path / "cat.jpg")
    await terminal.ok("send", "--group", "Friday", "--file", str(path), "--reply-to", first["seq"])
    out = await terminal.ok("history", "--group", "Friday", "--json", "-n", "1")
    content = json.loads(out)["message_appended"]["content"]
    assert content["reply_to_seq"] == first["seq"]
    assert content["media"]["width"] == 640
    await asyncio.gather(
        *[terminal.ok("download", "--group", "Friday", str(int(first["seq"]) + 1), "-o", str(tmp_path)) for _ in "ab"]
    )
    assert names_in(tmp_path) >= {"cat.jpg", "cat (1).jpg", "cat (2).jpg"}
