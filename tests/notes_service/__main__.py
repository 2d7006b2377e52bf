"""`python -m tests.notes_service`: a server of the notes service, on MongoDB and etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from notes.v1 import notes_pb2
from servicekit.rpc import Call
from servicekit.server import run
from servicekit.service import Platform, ServedService, Service, serve
from servicekit.settings import MongoSettings, ServiceSettings
from tests.notes_service.store import MongoNoteStore

NOTES: Final = notes_pb2.DESCRIPTOR.services_by_name["NotesService"]


class NotesSettings(ServiceSettings, MongoSettings):
    """The settings of a notes server."""


class NotesServicer:
    """Serves NotesService."""

    def __init__(self, notes: MongoNoteStore) -> None:
        self._notes = notes

    async def AddNote(self, request: notes_pb2.AddNoteRequest, call: Call) -> notes_pb2.AddNoteResponse:
        """Store a note of the caller."""
        await self._notes.add(call.caller.user_id, request.note_id, request.text)
        return notes_pb2.AddNoteResponse()

    async def WatchNotes(
        self, _: notes_pb2.WatchNotesRequest, call: Call
    ) -> AsyncIterator[notes_pb2.WatchNotesResponse]:
        """Stream the notes of the caller."""
        async for note_id, text in self._notes.watch(call.caller.user_id):
            yield notes_pb2.WatchNotesResponse(note_id=note_id, text=text)


async def build(platform: Platform[NotesSettings]) -> Service:
    """Return the services of a notes server. Raise ConfigurationError."""
    notes = MongoNoteStore(await platform.open_database(platform.settings))
    return Service(public=[ServedService(NOTES, NotesServicer(notes))])


if __name__ == "__main__":
    run(serve("notes", NotesSettings, build))
