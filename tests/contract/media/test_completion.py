"""Completion of uploads on a real mongod: each step may be the last of a server, and another one goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import uuid_utils

from media_service.errors import MediaNotFound, MediaNotReady, field_invalid
from media_service.model.media import (
    FileDescription,
    MediaFacts,
    MediaFile,
    MediaKind,
    MediaState,
    Variant,
    sent_key,
    variant_key,
)
from media_service.uploads import completion as completion_module
from servicekit.errors import Invalid
from servicekit.mongo import Database
from tests.contract.media.environment import MediaEnvironment, chunks_of

pytestmark = pytest.mark.integration

DATA = b"12345"
OTHER = b"abcde"


@pytest.fixture
async def media(database: Database) -> MediaEnvironment:
    media = MediaEnvironment(database)
    await media.store.ensure_indexes()
    return media


def new_id() -> str:
    return uuid_utils.uuid4().hex


async def die_after_adoption(media: MediaEnvironment, file: MediaFile, twin: MediaFile) -> None:
    """Leave what a server leaves that dies after it has recorded an adoption."""
    await media.objects.put(sent_key(file.media_id), len(DATA), chunks_of(DATA))
    await media.store.lease(file.media_id, "dead", 0, 1)
    assert await media.store.adopt(file.media_id, "dead", twin.media_id)


async def test_file_keeps_its_bytes_if_the_adopted_file_is_removed(media: MediaEnvironment) -> None:
    owner = new_id()
    twin = await media.upload(owner, DATA)
    file = await media.begin(owner, DATA)
    await die_after_adoption(media, file, twin)
    await media.store.remove(twin.media_id, [MediaState.READY], media.clock.now_ms())
    media.objects.objects.pop(sent_key(twin.media_id))
    finished = await media.completion.stream(await media.find(file.media_id), chunks_of(DATA))
    assert finished.base_id == file.media_id
    assert media.objects.objects[variant_key(finished, Variant.ORIGINAL)] == DATA


async def test_adoption_that_a_dead_server_recorded_counts_once(media: MediaEnvironment) -> None:
    owner = new_id()
    twin = await media.upload(owner, DATA)
    file = await media.begin(owner, DATA)
    await die_after_adoption(media, file, twin)
    assert twin.facts is not None
    await media.store.lease(file.media_id, "dead", 1, 1)
    assert await media.store.set_facts(file.media_id, "dead", file.description.sha256, twin.facts)
    finished = await media.new_completion(scan=True).stream(await media.find(file.media_id), chunks_of(DATA))
    assert (finished.state, finished.base_id) == (MediaState.READY, twin.media_id)
    assert sent_key(file.media_id) not in media.objects.objects
    assert await media.quota_used(owner) == len(DATA)


async def test_repeated_stream_does_not_replace_inspected_bytes(media: MediaEnvironment) -> None:
    """Facts of other bytes would give them a type that they do not have."""
    owner = new_id()
    description = FileDescription("a.png", "", len(DATA))
    file = await media.uploads.create(owner, str(uuid_utils.uuid4()), description, in_parts=False)
    await media.objects.put(sent_key(file.media_id), len(DATA), chunks_of(DATA))
    await media.store.lease(file.media_id, "dead", 0, 1)
    facts = MediaFacts(MediaKind.IMAGE, "image/png", len(DATA), b"s" * 32)
    assert await media.store.set_facts(file.media_id, "dead", b"s" * 32, facts)
    finished = await media.completion.stream(await media.find(file.media_id), chunks_of(OTHER))
    assert finished.known_facts.content_type == "image/png"
    assert media.objects.objects[sent_key(file.media_id)] == DATA


async def test_stream_of_another_size_is_removed(media: MediaEnvironment) -> None:
    """Its uploader does not know its id, and could not abort it."""
    owner = new_id()
    file = await media.begin(owner, DATA)

    async def wrong() -> object:
        yield DATA[:1]
        raise field_invalid("start.file.size_bytes", "5 bytes were announced, 1 were sent")

    with pytest.raises(Invalid):
        await media.completion.stream(file, wrong())  # type: ignore[arg-type]
    found = await media.find(file.media_id)
    assert found.state is MediaState.REMOVED
    assert found.failure is not None
    assert (await media.store.load_usage(owner)).uploads == 0


async def test_file_that_is_removed_during_its_completion_is_not_found(media: MediaEnvironment) -> None:
    file = await media.begin(new_id(), DATA, in_parts=True)
    # The parts are joined, and the collector deletes the object before it is read.
    media.objects.objects[sent_key(file.media_id)] = DATA
    leave = media.objects.abort_parts

    async def abort_and_lose(key: str, upload_id: str | None = None) -> None:
        await leave(key, upload_id)

    async def size_then_lose(key: str) -> int | None:
        found = media.objects.objects.get(key)
        if sizes.pop():
            media.objects.objects.pop(key, None)
        return len(found) if found is not None else None

    sizes = [True, False]
    media.objects.abort_parts = abort_and_lose  # type: ignore[method-assign]
    media.objects.size_of = size_then_lose  # type: ignore[method-assign]
    with pytest.raises(MediaNotFound):
        await media.completion.complete_parts(replace(file, upload_id="u"))


async def test_stopped_server_frees_its_leases(media: MediaEnvironment) -> None:
    file = await media.begin(new_id(), DATA, in_parts=True)
    reached = asyncio.Event()

    async def hang(_: str, __: str) -> list[object]:
        reached.set()
        await asyncio.Event().wait()
        return []

    media.objects.list_parts = hang  # type: ignore[assignment, method-assign]
    stop = asyncio.create_task(media.completion.run())
    call = asyncio.create_task(media.completion.complete_parts(file))
    await reached.wait()
    stop.cancel()
    await asyncio.wait([stop])
    assert await media.store.lease(file.media_id, "another", media.clock.now_ms(), media.clock.now_ms() + 1)
    with pytest.raises(MediaNotReady):
        await call


@pytest.mark.parametrize("sent", [DATA, OTHER], ids=["finished", "refused"])
async def test_lease_that_is_extended_after_the_outcome_is_recorded_is_not_lost(
    media: MediaEnvironment, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """The extension is sent on a timer, so it may come between the last write of the work and its return."""
    file = await media.begin(new_id(), DATA)
    completion = media.new_completion(lease_s=0.03)
    ended, extended = asyncio.Event(), asyncio.Event()
    lease = media.store.lease

    async def lease_and_tell(*arguments: Any) -> MediaFile | None:
        leased = await lease(*arguments)
        if ended.is_set():
            extended.set()
        return leased

    def wait_extended_after(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run(*arguments: Any, **options: Any) -> Any:
            result = await method(*arguments, **options)
            ended.set()
            await extended.wait()
            return result

        return run

    monkeypatch.setattr(media.store, "lease", lease_and_tell)
    monkeypatch.setattr(media.store, "finish", wait_extended_after(media.store.finish))
    monkeypatch.setattr(media.store, "remove", wait_extended_after(media.store.remove))
    outcome = completion.stream(file, chunks_of(sent))
    if sent == DATA:
        assert (await outcome).state is MediaState.READY
    else:
        with pytest.raises(Invalid):
            await outcome


async def test_removal_ends_the_lease_of_the_call_that_completes_the_file(media: MediaEnvironment) -> None:
    file, now_ms = await media.begin(new_id(), DATA), media.clock.now_ms()
    assert await media.store.lease(file.media_id, "holder", now_ms, now_ms + 1000)
    assert await media.store.remove(file.media_id, [MediaState.UPLOADING], now_ms)
    assert await media.store.lease(file.media_id, "holder", now_ms, now_ms + 1000) is None


async def test_completions_of_one_user_are_limited(media: MediaEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_module, "COMPLETIONS_PER_USER", 1)
    owner = new_id()
    first, second = await media.begin(owner, DATA, in_parts=True), await media.begin(owner, OTHER, in_parts=True)
    foreign = await media.begin(new_id(), DATA, in_parts=True)
    free, both_run = asyncio.Event(), asyncio.Barrier(3)

    async def wait_free(key: str, _: str) -> list[object]:
        if not free.is_set():
            await both_run.wait()
        await free.wait()
        raise field_invalid("media_id", key)

    media.objects.list_parts = wait_free  # type: ignore[assignment, method-assign]
    calls = [asyncio.create_task(media.completion.complete_parts(each)) for each in (first, foreign)]
    await both_run.wait()
    with pytest.raises(MediaNotReady):
        await media.completion.complete_parts(second)
    free.set()
    await asyncio.gather(*calls, return_exceptions=True)
    with pytest.raises(Invalid):
        await media.completion.complete_parts(second)
