"""The data of users at notify, in a real MongoDB and Valkey: tokens, preferences, pushed entries, decisions."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from notify_service.model.decision import MAX_DECISIONS, PushDecision, PushOutcome
from notify_service.model.preferences import Preferences, PreferencesChange, Preview, QuietHours, Scope
from notify_service.model.push import ApnsEnvironment, ApnsToken, EncryptionKey, FcmToken, WebPushSubscription
from notify_service.model.registration import ProviderKind, Registration
from notify_service.storage.preferences import PREFERENCES, MongoPreferencesStore
from notify_service.storage.pushed_entries import RedisPushedEntryStore
from notify_service.storage.tokens import MongoTokenStore
from notify_service.storage.traces import TTL_S, RedisTraceStore
from servicekit.mongo import Database

pytestmark = pytest.mark.integration

KEY = EncryptionKey(b"\x04" + bytes(64), bytes(16))
ALICE, BOB = uuid.uuid4().hex, uuid.uuid4().hex
PHONE, LAPTOP = sorted((uuid.uuid4().hex, uuid.uuid4().hex))
CHAT = uuid.uuid4().hex
UNREAD = {ALICE: 0, BOB: 0}


@pytest.fixture
async def tokens(database: Database) -> MongoTokenStore:
    tokens = MongoTokenStore(database)
    await tokens.ensure_indexes()
    return tokens


@pytest.mark.parametrize(
    "token",
    [
        FcmToken("f"),
        FcmToken("f", KEY),
        ApnsToken("ab", "org.example.app", ApnsEnvironment.SANDBOX, KEY),
        ApnsToken("ab", "org.example.app"),
        WebPushSubscription("https://push.example.com/1", KEY),
    ],
    ids=lambda each: f"{type(each).__name__}-{each.encryption_key is not None}",
)
async def test_registration_is_read_as_it_was_stored(
    tokens: MongoTokenStore, token: FcmToken | ApnsToken | WebPushSubscription
) -> None:
    registration = Registration(ALICE, PHONE, token, "pt-BR", 5)
    await tokens.put(registration)
    assert await tokens.find_all([ALICE, BOB]) == {ALICE: [registration]}


async def test_device_has_one_token_and_a_token_one_device(tokens: MongoTokenStore) -> None:
    await tokens.put(Registration(ALICE, PHONE, FcmToken("old")))
    await tokens.put(Registration(ALICE, PHONE, FcmToken("new")))
    await tokens.put(Registration(ALICE, LAPTOP, FcmToken("other")))
    found = await tokens.find_all([ALICE])
    assert [(each.device_id, each.token.token) for each in found[ALICE] if isinstance(each.token, FcmToken)] == [
        (PHONE, "new"),
        (LAPTOP, "other"),
    ]
    # The phone was sold, or another user signed in on it; the time of the last push belongs to the previous user.
    await tokens.note_pushes({found[ALICE][0].token_id: 7})
    moved = Registration(BOB, PHONE, FcmToken("new"), "en", 9)
    await tokens.put(moved)
    assert await tokens.find_all([ALICE, BOB]) == {ALICE: [found[ALICE][1]], BOB: [moved]}


async def test_same_token_of_another_provider_is_another_token(tokens: MongoTokenStore) -> None:
    await tokens.put(Registration(ALICE, PHONE, FcmToken("ab")))
    await tokens.put(Registration(BOB, LAPTOP, ApnsToken("ab", "topic")))
    assert set(await tokens.find_all([ALICE, BOB])) == {ALICE, BOB}


async def test_time_of_the_last_push_stays_when_the_app_registers_again(tokens: MongoTokenStore) -> None:
    registration = Registration(ALICE, PHONE, FcmToken("f"), "en", 5)
    await tokens.put(registration)
    await tokens.note_pushes({registration.token_id: 8})
    await tokens.note_pushes({registration.token_id: 6, bytes(32): 1})
    await tokens.put(replace(registration, register_ms=10, language="de"))
    [found] = (await tokens.find_all([ALICE]))[ALICE]
    assert (found.register_ms, found.last_push_ms, found.language) == (10, 8, "de")


async def test_token_registered_again_is_not_deleted(tokens: MongoTokenStore) -> None:
    stale = Registration(ALICE, PHONE, FcmToken("f"), "en", 5)
    await tokens.put(replace(stale, register_ms=6))
    await tokens.delete_token(stale)
    [found] = (await tokens.find_all([ALICE]))[ALICE]
    await tokens.delete_token(found)
    assert await tokens.find_all([ALICE]) == {}


async def test_tokens_of_a_device_and_of_a_user_are_deleted(tokens: MongoTokenStore) -> None:
    for device in (PHONE, LAPTOP):
        await tokens.put(Registration(ALICE, device, FcmToken(f"alice {device}")))
        await tokens.put(Registration(BOB, device, FcmToken(f"bob {device}")))
    await tokens.delete_device(ALICE, PHONE)
    assert {user: len(found) for user, found in (await tokens.find_all([ALICE, BOB])).items()} == {ALICE: 1, BOB: 2}
    await tokens.delete_user(BOB)
    assert list(await tokens.find_all([ALICE, BOB])) == [ALICE]


async def test_tokens_of_users_are_found_by_the_index(tokens: MongoTokenStore, database: Database) -> None:
    plan = await database.command(
        {"explain": {"find": "notify_tokens", "filter": {"u": {"$in": [bytes(16)]}}, "sort": {"u": 1, "d": 1}}}
    )
    stages = str(plan["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in stages
    assert "COLLSCAN" not in stages
    assert "'SORT'" not in stages


async def test_preferences_are_read_as_they_were_stored(database: Database) -> None:
    store = MongoPreferencesStore(database)
    quiet = QuietHours(1320, 420, "Europe/Lisbon")
    preferences = Preferences(Scope.MENTIONS, Preview.NONE, False, quiet)
    assert await store.change(ALICE, PreferencesChange(Scope.MENTIONS, Preview.NONE, False, quiet)) == preferences
    assert await store.change(BOB, PreferencesChange()) == Preferences()
    assert await store.find_all([ALICE, BOB, uuid.uuid4().hex]) == {ALICE: preferences, BOB: Preferences()}
    assert await store.change(ALICE, PreferencesChange()) == replace(preferences, quiet_hours=None)
    await store.delete(ALICE)
    assert list(await store.find_all([ALICE, BOB])) == [BOB]


async def test_concurrent_changes_of_different_preferences_are_all_kept(database: Database) -> None:
    store = MongoPreferencesStore(database)
    users = [uuid.uuid4().hex for _ in range(20)]
    changes = [
        PreferencesChange(Scope.NONE),
        PreferencesChange(preview=Preview.NONE),
        PreferencesChange(reactions=False),
    ]
    await asyncio.gather(*(store.change(user, change) for user in users for change in changes))
    assert await store.find_all(users) == dict.fromkeys(users, Preferences(Scope.NONE, Preview.NONE, False))


async def test_quiet_hours_in_a_zone_that_is_unknown_are_left_out(database: Database) -> None:
    store = MongoPreferencesStore(database)
    await store.change(ALICE, PreferencesChange(quiet_hours=QuietHours(0, 0, "UTC")))
    await database[PREFERENCES].update_one({}, {"$set": {"quiet": [0, 0, "Atlantis/Capital"]}})
    assert await store.find_all([ALICE]) == {ALICE: Preferences()}


async def test_receipt_that_reads_nothing_new_changes_no_badge(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    assert await pushed.record(CHAT, {ALICE: 9}, {ALICE: 4}) == ({ALICE}, set())
    assert await pushed.begin_withdrawal(ALICE, CHAT, 4) == 0
    assert await pushed.begin_withdrawal(ALICE, CHAT, 5) == 9
    assert await pushed.begin_withdrawal(ALICE, CHAT, 9) == 9


async def test_recorded_entry_only_rises(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    assert await newest(pushed, ALICE) == 0
    assert await is_recorded(pushed, ALICE, 5)
    assert await is_recorded(pushed, ALICE, 5), "an event that is delivered again is sent again"
    assert not await is_recorded(pushed, ALICE, 4)
    assert await newest(pushed, ALICE) == 5
    assert await newest(pushed, BOB) == 0
    assert 0 < await redis.pttl(f"notify:shown:{{{ALICE}}}") <= 30 * 86_400_000


async def test_withdrawal_covers_what_was_read(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    assert await pushed.begin_withdrawal(BOB, CHAT, 9) == 0
    await is_recorded(pushed, ALICE, 5)
    assert await pushed.begin_withdrawal(ALICE, CHAT, 4) == 5
    assert await newest(pushed, ALICE) == 5
    assert await pushed.begin_withdrawal(ALICE, CHAT, 5) == 5
    assert await newest(pushed, ALICE) == 0
    assert not await is_recorded(pushed, ALICE, 5), "it was withdrawn"
    assert await pushed.begin_withdrawal(ALICE, CHAT, 7) == 5, "until the withdrawal was sent it is sent again"
    await pushed.end_withdrawal(ALICE, CHAT, 5)
    assert await pushed.begin_withdrawal(ALICE, CHAT, 7) == 0


async def test_newer_push_outlives_a_withdrawal(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    await is_recorded(pushed, ALICE, 5)
    await pushed.begin_withdrawal(ALICE, CHAT, 5)
    assert await is_recorded(pushed, ALICE, 6)
    await pushed.end_withdrawal(ALICE, CHAT, 5)
    assert await newest(pushed, ALICE) == 6
    await pushed.delete(ALICE)
    assert await newest(pushed, ALICE) == 0


async def test_trace_keeps_the_last_decisions(redis: Redis) -> None:
    traces = RedisTraceStore(redis)
    sent = PushDecision(1, CHAT, 1, PushOutcome.RETRYING, PHONE, ProviderKind.APNS, "TooManyRequests")
    await traces.add([(ALICE, sent), (BOB, PushDecision(2, CHAT, 2, PushOutcome.MUTED))])
    assert await traces.find(ALICE) == [sent]
    many = [PushDecision(each, CHAT, each, PushOutcome.READ) for each in range(3, 3 + MAX_DECISIONS)]
    await traces.add([(ALICE, each) for each in many])
    assert await traces.find(ALICE) == list(reversed(many))
    assert await traces.find(BOB) == [PushDecision(2, CHAT, 2, PushOutcome.MUTED)]
    assert 0 < await redis.ttl(f"notify:trace:{ALICE}") <= TTL_S
    await traces.delete(ALICE)
    assert await traces.find(ALICE) == []


async def test_entries_of_many_users_are_recorded_at_once(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    await is_recorded(pushed, BOB, 9)
    assert await pushed.record(CHAT, {ALICE: 5, BOB: 5}, UNREAD) == ({ALICE}, set())
    assert await pushed.find(CHAT, [BOB, ALICE]) == {BOB: 9, ALICE: 5}
    assert await pushed.record(CHAT, {}, {}) == (set(), set())
    assert await pushed.find(CHAT, []) == {}


async def test_entry_is_pushed_by_one_event(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    assert await pushed.record(CHAT, {ALICE: 5}, UNREAD, "1-0") == ({ALICE}, set())
    assert await pushed.record(CHAT, {ALICE: 5}, UNREAD, "2-0") == (set(), {ALICE})
    assert await pushed.record(CHAT, {ALICE: 5}, UNREAD, "1-0") == ({ALICE}, set()), (
        "a server repeats what it did not acknowledge"
    )
    assert await pushed.record(CHAT, {ALICE: 5}, UNREAD) == ({ALICE}, set()), "a job"
    assert await pushed.record(CHAT, {ALICE: 6}, UNREAD, "2-0") == ({ALICE}, set())
    assert await pushed.record(CHAT, {ALICE: 6}, UNREAD, "1-0") == (set(), {ALICE})


async def test_entry_that_is_read_before_it_is_recorded_is_not_pushed(redis: Redis) -> None:
    pushed = RedisPushedEntryStore(redis)
    assert await pushed.begin_withdrawal(ALICE, CHAT, 5) == 0
    assert await pushed.begin_withdrawal(ALICE, CHAT, 4) == 0
    assert await pushed.record(CHAT, {ALICE: 5, BOB: 5}, UNREAD) == ({BOB}, set())
    assert await pushed.record(CHAT, {ALICE: 6}, UNREAD) == ({ALICE}, set())
    assert await pushed.begin_withdrawal(ALICE, CHAT, 5) == 6
    assert 0 < await redis.pttl(f"notify:read:{{{ALICE}}}:{CHAT}") <= 300_000


async def is_recorded(pushed: RedisPushedEntryStore, user: str, seq: int) -> bool:
    return await pushed.record(CHAT, {user: seq}, UNREAD) == ({user}, set())


async def newest(pushed: RedisPushedEntryStore, user: str) -> int:
    return (await pushed.find(CHAT, [user]))[user]
