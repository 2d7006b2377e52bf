"""The judge of files finds each kind of loss and leak in a small system, and none in the correct one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import pytest

from media_service.model.media import (
    FileDescription,
    MediaFacts,
    MediaFile,
    MediaKind,
    MediaState,
    StoredVariant,
    Variant,
)
from tests.faults.files.audit import Holdings
from tests.faults.files.journal import FileJournal, Reference, StoredFile
from tests.faults.files.judge import broken_file_promises, delayed_texts
from tests.faults.journal import Journal, Send, Struck

ALBUM: Final = "a" * 32
SENT, TWIN, PHOTO = (letter * 32 for letter in "def")
DIGEST: Final = b"d" * 32


def record(media_id: str, base_id: str, state: MediaState = MediaState.READY, *, photo: bool = False) -> MediaFile:
    variants = {Variant.THUMBNAIL: StoredVariant("image/webp", 9, 3, 3)} if photo else {}
    facts = MediaFacts(MediaKind.FILE, "image/jpeg", 1, DIGEST, rewritten=photo, variants=variants)
    description = FileDescription("", "", 1)
    return MediaFile(media_id, ALBUM, b"", state, description, 0, 0, base_id, in_parts=False, facts=facts)


@dataclass
class Story:
    """Two identical files and a photo, each sent once; bob and carol have downloaded all of them."""

    journal: FileJournal = field(default_factory=FileJournal)
    messages: dict[tuple[str, int], str] = field(default_factory=dict)
    files: list[MediaFile] = field(
        default_factory=lambda: [record(SENT, SENT), record(TWIN, SENT), record(PHOTO, PHOTO, photo=True)]
    )
    objects: set[str] = field(default_factory=lambda: {f"{SENT}/sent", f"{PHOTO}/original", f"{PHOTO}/thumbnail"})
    uploads: set[str] = field(default_factory=set)
    downloads: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for seq, file in enumerate(self.files, start=2):
            stored = StoredFile(file.media_id, "alice", DIGEST, 1, 0.0, [Reference(ALBUM, seq, file.media_id, "alice")])
            self.journal.files[file.media_id] = stored
            self.messages[ALBUM, seq] = file.media_id
            self.downloads |= {(file.media_id, member): DIGEST for member in ("bob", "carol")}

    def broken(self) -> set[str]:
        holdings = Holdings(self.messages, self.files, frozenset(self.objects), frozenset(self.uploads), self.downloads)
        return {each.promise for each in broken_file_promises(self.journal, holdings)}


def test_correct_story_breaks_no_promise() -> None:
    assert Story().broken() == set()


def test_deleted_message_and_its_file_are_gone_by_right() -> None:
    story = Story()
    del story.messages[ALBUM, 3]
    story.files.pop(1)
    story.journal.files[TWIN].references[0].deleting = True
    assert story.broken() == set()


def lost_object(story: Story) -> None:
    story.objects.remove(f"{SENT}/sent")


def lost_thumbnail(story: Story) -> None:
    story.objects.remove(f"{PHOTO}/thumbnail")


def lost_record(story: Story) -> None:
    story.files.pop(1)


def unfinished_record(story: Story) -> None:
    story.files[1] = replace(story.files[1], state=MediaState.UPLOADING)


def lost_message(story: Story) -> None:
    del story.messages[ALBUM, 2]


def other_file_in_message(story: Story) -> None:
    story.messages[ALBUM, 2] = PHOTO


def unknown_file(story: Story) -> None:
    del story.journal.files[PHOTO]


def other_bytes(story: Story) -> None:
    story.downloads[PHOTO, "carol"] = b"e" * 32


def refused_download(story: Story) -> None:
    story.downloads[PHOTO, "carol"] = b""


def wrong_answer(story: Story) -> None:
    story.journal.violations.append("a file that stands could not be sent")


def stray_object(story: Story) -> None:
    story.objects.add("0" * 32 + "/sent")


def sent_bytes_of_photo(story: Story) -> None:
    story.objects.add(f"{PHOTO}/sent")


def own_bytes_of_twin(story: Story) -> None:
    story.objects.add(f"{TWIN}/sent")


def stray_upload(story: Story) -> None:
    story.uploads.add(f"{SENT}/sent")


def removed_record(story: Story) -> None:
    story.files.append(record("0" * 32, "0" * 32, MediaState.REMOVED))


def unreferenced_record(story: Story) -> None:
    story.files.append(record("0" * 32, SENT))


STORIES: list[tuple[str, Callable[[Story], None]]] = [
    ("P13 kept", lost_object),
    ("P13 kept", lost_thumbnail),
    ("P13 kept", lost_record),
    ("P13 kept", unfinished_record),
    ("P13 kept", lost_message),
    ("P13 kept", other_file_in_message),
    ("P13 kept", unknown_file),
    ("P13 kept", other_bytes),
    ("P13 kept", refused_download),
    ("P13 kept", wrong_answer),
    ("P13 removed", stray_object),
    ("P13 removed", sent_bytes_of_photo),
    ("P13 removed", own_bytes_of_twin),
    ("P13 removed", stray_upload),
    ("P13 removed", removed_record),
    ("P13 removed", unreferenced_record),
]


@pytest.mark.parametrize(("promise", "breaks"), STORIES, ids=[breaks.__name__ for _, breaks in STORIES])
def test_broken_promise_is_found(promise: str, breaks: Callable[[Story], None]) -> None:
    story = Story()
    breaks(story)
    assert promise in story.broken()


FAULT: Final = "S3 store frozen"


def texts(*answered_at: float | None) -> Journal:
    """Return the record of a fault from 100 to 110 s, and of texts that were sent at 105 s."""
    journal = Journal(struck=[Struck(FAULT, 100.0, 110.0, 1)])
    journal.sends = [Send("bob's", n, ALBUM, f"{n}", 105.0, {n}, at) for n, at in enumerate(answered_at)]
    return journal


def test_texts_that_wait_for_the_store_of_files_are_found() -> None:
    assert not delayed_texts(texts(105.1, 109.0), {FAULT})
    assert [each.promise for each in delayed_texts(texts(105.1, 110.2), {FAULT})] == ["P13 apart"]
    assert [each.promise for each in delayed_texts(texts(None), {FAULT})] == ["P13 apart"]


def test_texts_that_wait_for_chat_are_not_the_fault_of_media() -> None:
    journal = texts(120.0)
    assert not delayed_texts(journal, set())
    journal.struck.insert(0, Struck("chat server killed", 90.0, 99.0, 1))
    assert not delayed_texts(journal, {FAULT})
