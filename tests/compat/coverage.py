"""The kinds of frames, calls and documents that a recording must have, by the contract of the commit that records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from parley.internal.v1 import directory_pb2, media_pb2, mesh_pb2, notify_pb2, personal_data_pb2, presence_report_pb2
from tests.compat.recording import Recording

MESH: Final = "/parley.internal.v1.MeshService/Exchange"
REPORT: Final = "/parley.internal.v1.PresenceReportService/Report"
# Sent only after a queue of 32 MiB was full.
UNRECORDED: Final = {"MeshFrame.missed"}
COLLECTIONS: Final = (
    *("entries", "conversations", "memberships", "users", "login_names", "devices", "blocks", "meta"),
    *("media_files", "notify_tokens", "notify_preferences", "presence_visibility", "presence_last_seen"),
)


def mesh_frames(recording: Recording) -> Iterator[mesh_pb2.MeshFrame]:
    """Yield all frames between chat servers."""
    for frame in recording.frames(MESH):
        yield from mesh_pb2.ExchangeRequest.FromString(frame.data).batch.frames


def missing_kinds(recording: Recording) -> list[str]:
    """Return the kinds that the recording does not have."""
    reports = recording.frames(REPORT)
    told = [
        *_kinds(mesh_pb2.MeshFrame.DESCRIPTOR, mesh_frames(recording)),
        *_kinds(
            presence_report_pb2.ReportRequest.DESCRIPTOR,
            (presence_report_pb2.ReportRequest.FromString(each.data) for each in reports if each.up),
        ),
        *_kinds(
            presence_report_pb2.ReportResponse.DESCRIPTOR,
            (presence_report_pb2.ReportResponse.FromString(each.data) for each in reports if not each.up),
        ),
        *_kinds(
            notify_pb2.QueuedPush.DESCRIPTOR, (notify_pb2.QueuedPush.FromString(each) for each in recording.events)
        ),
    ]
    called = {exchange.method for exchange in recording.exchanges}
    stored = [name for name in COLLECTIONS if not recording.documents.get(name)]
    return [*sorted(set(told) - UNRECORDED), *sorted(_methods() - called), *(f"collection {name}" for name in stored)]


def _kinds(message: Descriptor, seen: Iterable[Message]) -> Iterator[str]:
    """Yield the kinds of a message with one oneof that are not among the messages seen."""
    [kind] = message.oneofs
    missing = {field.name for field in kind.fields} - {each.WhichOneof(kind.name) for each in seen}
    yield from (f"{message.name}.{name}" for name in missing)


def _methods() -> set[str]:
    """Return the methods that services call of each other; those of NotifyAdminService are called by operators."""
    services = [
        service
        for file in (directory_pb2, media_pb2, mesh_pb2, personal_data_pb2, presence_report_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
