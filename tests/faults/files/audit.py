"""The holdings of a system at the end: its messages with files, the records of files, and the objects in S3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from devstack.stack import Stack
from media_service.model.media import MediaFile, MediaState, needed_keys
from media_service.storage.media_store import FILES, MongoMediaStore
from parley.chat.v1 import chat_pb2
from servicekit.mongo import connect
from tests.raw.bucket import Bucket
from tests.raw.device import RawDevice

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Holdings:
    """The state of a system at one time.

    `messages` has the file of every message that stands, by conversation and seq. `objects` and `uploads` are the keys
    in S3, `files` the records in MongoDB.
    """

    messages: Mapping[tuple[str, int], str]
    files: Sequence[MediaFile]
    objects: frozenset[str]
    uploads: frozenset[str]
    # The digests of what each member downloaded at the end, by file and member; empty where it was refused.
    downloads: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def referenced(self) -> set[str]:
        """Return the files to which a message refers."""
        return set(self.messages.values())

    @property
    def needed(self) -> dict[str, MediaFile]:
        """Return the keys of the objects that the records of complete files need, each with one of their files."""
        return {key: file for file in self.files if file.state is MediaState.READY for key in needed_keys(file)}

    @property
    def surplus(self) -> list[str]:
        """Return the records, objects and uploads in parts that nothing needs."""
        referenced = self.referenced
        return [
            *(
                f"the record of {file.media_id} in {file.state.name}"
                for file in self.files
                if file.state is not MediaState.READY or file.media_id not in referenced
            ),
            *(f"the object {key}" for key in sorted(self.objects - self.needed.keys())),
            *(f"the upload in parts to {key}" for key in sorted(self.uploads)),
        ]


async def take_stock(stack: Stack, auditor: RawDevice, conversations: Sequence[str]) -> Holdings:
    """Return what a system holds; `auditor` is a member of all `conversations` with files."""
    messages: dict[tuple[str, int], str] = {}
    for conversation in conversations:
        messages |= await _read_references(auditor, conversation)
    bucket = Bucket(stack)
    objects, uploads = await bucket.objects(), await bucket.uploads()
    return Holdings(messages, await _read_records(stack), frozenset(objects), frozenset(uploads))


async def _read_references(auditor: RawDevice, conversation: str) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    after = 0
    while True:
        wanted = chat_pb2.EntryRange(conversation_id=conversation, after_seq=after, limit=PAGE)
        page = (await auditor.call(chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=[wanted])))).entries
        for entry in page.entries:
            after = max(after, entry.seq)
            if entry.message_appended.content.HasField("media"):
                found[conversation, entry.seq] = entry.message_appended.content.media.media_id
        if page.ranges[0].complete:
            return found


async def _read_records(stack: Stack) -> list[MediaFile]:
    database = await connect(stack.mongo_uri, "parley")
    try:
        ids = [each["_id"].hex() async for each in database[FILES].find({}, {"_id": 1})]
        return list((await MongoMediaStore(database).find_all(ids)).values())
    finally:
        await database.client.close()
