"""The contract of every store of accounts and devices, whichever database it uses."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.devices import AccountDevices, Device, Platform
from chat_service.accounts.ports import AccountStore, DeviceStore
from chat_service.accounts.privacy import Privacy, WhoMayAdd
from chat_service.accounts.refresh_tokens import RefreshChain, sign_in_id
from chat_service.accounts.user_search import UserQuery, search_keys
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.devices import MongoDeviceStore
from servicekit.mongo import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def accounts(database: Database) -> AccountStore:
    store = MongoAccountStore(database)
    await store.ensure_indexes()
    await store.ensure_indexes()
    return store


@pytest.fixture
async def devices(database: Database) -> DeviceStore:
    return MongoDeviceStore(database)


def account(login_name: str, display_name: str = "") -> Account:
    return Account(Profile(uuid.uuid4().hex, login_name, display_name or login_name), "hash", 17)


async def insert_listed(store: AccountStore, login_name: str, display_name: str = "") -> Account:
    made = account(login_name, display_name)
    await store.insert(made)
    assert await store.claim_login_name(login_name, made.user_id)
    await store.list_for_search(made.user_id, search_keys(login_name, made.profile.display_name))
    return made


async def names_found(store: AccountStore, query: str, after: str = "", limit: int = 50) -> list[str]:
    return [each.login_name for each in await store.search_profiles(UserQuery.of(query), after, limit)]


async def test_inserted_account_is_loaded_unchanged(accounts: AccountStore) -> None:
    made = account("alice")
    await accounts.insert(made)
    assert await accounts.load(made.user_id) == made
    await accounts.list_for_search(made.user_id, search_keys("alice", "alice"))
    assert await accounts.load(made.user_id) == replace(made, listed=True)
    assert await accounts.load(uuid.uuid4().hex) is None


async def test_login_name_is_claimed_once_and_reclaimable_by_its_owner(accounts: AccountStore) -> None:
    alice, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert await accounts.find_user_id("alice") is None
    assert await accounts.claim_login_name("alice", alice)
    assert not await accounts.claim_login_name("alice", other)
    assert await accounts.claim_login_name("alice", alice)
    assert await accounts.find_user_id("alice") == alice


async def test_one_of_many_concurrent_claims_wins(accounts: AccountStore) -> None:
    users = [uuid.uuid4().hex for _ in range(20)]
    won = await asyncio.gather(*(accounts.claim_login_name("alice", user) for user in users))
    assert sum(won) == 1
    assert await accounts.find_user_id("alice") == users[won.index(True)]


async def test_deleted_unclaimed_account_is_not_loaded(accounts: AccountStore) -> None:
    made = account("alice")
    await accounts.insert(made)
    await accounts.delete_unclaimed(made.user_id)
    assert await accounts.load(made.user_id) is None


async def test_password_hash_is_replaced_only_if_unchanged(accounts: AccountStore) -> None:
    made = await insert_listed(accounts, "alice")
    assert await accounts.set_password_hash(made.user_id, "hash", "new")
    assert not await accounts.set_password_hash(made.user_id, "hash", "other")
    found = await accounts.load(made.user_id)
    assert found is not None
    assert found.password_hash == "new"


async def test_update_writes_only_changed_fields(accounts: AccountStore) -> None:
    made = replace(await insert_listed(accounts, "alice"), listed=True)
    first = with_profile(made, about="hi", picture_media_id=uuid.uuid4().hex)
    assert await accounts.update(made, first, None)
    assert await accounts.load(made.user_id) == first
    second = replace(first, privacy=Privacy(WhoMayAdd.NOBODY))
    # An update of other fields does not conflict with the changed profile.
    assert await accounts.update(made, replace(made, privacy=second.privacy), None)
    assert await accounts.load(made.user_id) == second
    assert await accounts.update(second, replace(second, privacy=Privacy()), None)
    assert await accounts.load(made.user_id) == first
    assert not await accounts.update(account("nobody"), with_profile(account("nobody"), about="hi"), None)


async def test_conflicting_update_of_same_field_is_refused(accounts: AccountStore) -> None:
    made = await insert_listed(accounts, "alice")
    for field, value in (("about", "hi"), ("picture_media_id", uuid.uuid4().hex), ("display_name", "Alice")):
        assert await accounts.update(made, with_profile(made, **{field: value}), None)
        assert not await accounts.update(made, with_profile(made, **{field: "another"}), None)


async def test_search_keys_are_not_written_from_stale_fields(accounts: AccountStore) -> None:
    made = await insert_listed(accounts, "alice", "Old Name")
    named = with_profile(made, display_name="New Name")
    hidden = replace(made, privacy=Privacy(found_by_search=False))
    assert await accounts.update(made, hidden, hidden.search_keys)
    assert not await accounts.update(made, named, named.search_keys), "a hidden user would be found again"
    both = with_profile(hidden, display_name="New Name")
    assert await accounts.update(hidden, both, None)
    assert not await accounts.update(hidden, made, made.search_keys), "the user would be found by the old name"
    shown = replace(both, privacy=Privacy())
    assert await accounts.update(both, shown, shown.search_keys)
    assert await names_found(accounts, "new") == ["alice"]


async def test_renamed_user_is_found_by_new_name_only(accounts: AccountStore) -> None:
    made = await insert_listed(accounts, "alice", "Old Name")
    renamed = with_profile(made, display_name="New Name")
    await accounts.update(made, renamed, renamed.search_keys)
    assert await names_found(accounts, "new") == ["alice"]
    assert await names_found(accounts, "old") == []
    # A Login that repairs the search listing must not restore the old name.
    await accounts.list_for_search(made.user_id, made.search_keys)
    assert await names_found(accounts, "old") == []


async def test_hidden_user_is_found_by_exact_login_name_only(accounts: AccountStore) -> None:
    for name in ("alice", "al.ice-the_great1", "ali"):
        made = await insert_listed(accounts, name, "Somebody")
        hidden = replace(made, privacy=Privacy(found_by_search=False))
        assert await accounts.update(made, hidden, hidden.search_keys)
    await insert_listed(accounts, "aaron", "Alice")
    assert await names_found(accounts, "some") == []
    assert await names_found(accounts, "alic") == ["aaron"]
    assert await names_found(accounts, "alice") == ["aaron", "alice"]
    assert await names_found(accounts, "alice", after="aaron") == ["alice"]
    assert await names_found(accounts, "ALI") == ["aaron", "ali"]
    assert await names_found(accounts, "al.ice-the_great1") == ["al.ice-the_great1"]
    assert await names_found(accounts, "alice2") == []
    assert await names_found(accounts, "\nalic") == await names_found(accounts, "alic") == ["aaron"]


async def test_adding_rules_are_loaded_for_restricted_users(accounts: AccountStore) -> None:
    rules = {}
    for name, rule in (("alice", WhoMayAdd.CONTACTS), ("bob", WhoMayAdd.NOBODY)):
        made = await insert_listed(accounts, name)
        assert await accounts.update(made, replace(made, privacy=Privacy(rule)), None)
        rules[made.user_id] = rule
    carol = await insert_listed(accounts, "carol")
    found = await accounts.load_adding_rules([*rules, carol.user_id, uuid.uuid4().hex])
    assert rules == {user: rule for user, rule in found.items() if rule is not WhoMayAdd.EVERYONE}


async def test_deleting_account_is_hidden_from_other_users(accounts: AccountStore) -> None:
    alice, bob = await insert_listed(accounts, "alice"), await insert_listed(accounts, "bob")
    await accounts.mark_deleting(alice.user_id, 5)
    await accounts.mark_deleting(alice.user_id, 7)
    await accounts.mark_deleting(uuid.uuid4().hex, 3)
    assert await accounts.list_deleting(10) == [(alice.user_id, 5)]
    assert await accounts.load(alice.user_id) == replace(alice, deleting=True)
    assert await accounts.filter_existing([alice.user_id, bob.user_id]) == {bob.user_id}
    assert await accounts.load_profiles([alice.user_id, bob.user_id]) == {bob.user_id: bob.profile}
    assert await names_found(accounts, "alice") == []
    assert not await accounts.update(alice, with_profile(alice, about="hi"), None)
    await accounts.list_for_search(alice.user_id, alice.search_keys)
    assert await names_found(accounts, "alice") == [], "a concurrent Login does not list a deleting account"
    assert not await accounts.claim_login_name("alice", bob.user_id)


async def test_deleting_accounts_are_listed_oldest_first(accounts: AccountStore) -> None:
    made = [await insert_listed(accounts, name) for name in ("alice", "bob", "carol")]
    for time_ms, each in zip((7, 5, 6), made, strict=True):
        await accounts.mark_deleting(each.user_id, time_ms)
    assert [time_ms for _, time_ms in await accounts.list_deleting(2)] == [5, 6]


async def test_purged_account_keeps_only_its_id(accounts: AccountStore, database: Database) -> None:
    alice, bob = await insert_listed(accounts, "alice"), await insert_listed(accounts, "bob")
    await accounts.purge(bob.user_id, 9)
    assert await accounts.load(bob.user_id) == replace(bob, listed=True), "the account was not marked for deletion"
    await accounts.mark_deleting(alice.user_id, 5)
    for _ in range(2):
        await accounts.release_name(alice.user_id)
        await accounts.purge(alice.user_id, 9)
    gone = Account(Profile(alice.user_id, "", "", deleted=True), "", 0, deleting=True)
    assert await accounts.load(alice.user_id) == gone
    assert await accounts.list_deleting(10) == []
    await accounts.insert(replace(alice, listed=False))
    assert await accounts.load(alice.user_id) == gone, "an id is never reused"
    assert not await accounts.claim_login_name("alice", bob.user_id), "the login name is still reserved"
    [name] = [each for each in await database["login_names"].find().to_list() if "released" in each]
    assert name["_id"] == "alice"


def with_profile(made: Account, **changed: str) -> Account:
    return replace(made, profile=replace(made.profile, **changed))  # type: ignore[arg-type]


async def test_search_results_are_ordered_and_paged(accounts: AccountStore) -> None:
    for login_name, display_name in [("zoe", "Alicia Z"), ("alice", ""), ("bob", "Mr Alistair"), ("eve", "Eve")]:
        await insert_listed(accounts, login_name, display_name)
    unlisted = account("alix")
    await accounts.insert(unlisted)
    assert await names_found(accounts, "ali") == ["alice", "bob", "zoe"]
    assert await names_found(accounts, "ali", limit=2) == ["alice", "bob"]
    assert await names_found(accounts, "ali", after="bob") == ["zoe"]
    assert await names_found(accounts, "alici") == ["zoe"]
    assert await names_found(accounts, "alice.*") == []
    assert await names_found(accounts, "alix") == []


async def test_filter_existing_returns_known_users(accounts: AccountStore) -> None:
    made = [await insert_listed(accounts, name) for name in ("alice", "bob")]
    ids = {each.user_id for each in made}
    assert await accounts.filter_existing([*ids, uuid.uuid4().hex]) == ids
    assert await accounts.filter_existing([]) == set()


async def test_search_uses_index_without_sorting(accounts: AccountStore, database: Database) -> None:
    await insert_listed(accounts, "alice")
    criteria = {
        "prefixes": {"$in": ["alic", "\nalice"]},
        "words": {"$regex": "^alice"},
        "login_name": {"$gt": "a"},
    }
    cursor = database["users"].find(criteria).sort("login_name", 1).limit(20).hint("by_prefix")
    plan = str((await cursor.explain())["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in plan
    # Two index ranges are merged without sorting.
    assert "SORT" not in plan.replace("SORTED", "").replace("SORT_MERGE", "")


def phone(user_id: str, number: int) -> Device:
    device_id = f"{number:032x}"
    return Device(device_id, "phone", Platform.IOS, 1, 2, RefreshChain.start(user_id, device_id)[0])


async def test_saved_devices_are_loaded_unchanged(devices: DeviceStore) -> None:
    user_id = uuid.uuid4().hex
    none = await devices.load(user_id)
    assert none == AccountDevices(user_id, 0, {})
    one = none.with_signed_in(phone(user_id, 1), 10)
    assert await devices.save_if_unchanged(one)
    assert await devices.load(user_id) == replace(one, revision=1)
    out = (await devices.load(user_id)).with_signed_out(phone(user_id, 1).device_id)
    assert await devices.save_if_unchanged(out)
    assert await devices.load(user_id) == replace(out, revision=2)


async def test_save_of_stale_revision_is_refused(devices: DeviceStore) -> None:
    user_id = uuid.uuid4().hex
    none = await devices.load(user_id)
    one = none.with_signed_in(phone(user_id, 1), 10)
    assert await devices.save_if_unchanged(one)
    assert not await devices.save_if_unchanged(one)
    now = await devices.load(user_id)
    assert await devices.save_if_unchanged(now.with_signed_in(phone(user_id, 2), 10))
    assert not await devices.save_if_unchanged(now.with_signed_in(phone(user_id, 3), 10))


async def test_one_of_many_concurrent_saves_wins(devices: DeviceStore) -> None:
    none = await devices.load(uuid.uuid4().hex)
    changes = [none.with_signed_in(phone(none.user_id, number), 10) for number in range(10)]
    assert sum(await asyncio.gather(*(devices.save_if_unchanged(change) for change in changes))) == 1


async def test_deleted_devices_load_as_empty(devices: DeviceStore) -> None:
    user_id = uuid.uuid4().hex
    await devices.save_if_unchanged((await devices.load(user_id)).with_signed_in(phone(user_id, 1), 10))
    for _ in range(2):
        await devices.delete(user_id)
    assert await devices.load(user_id) == AccountDevices(user_id, 0, {})


async def test_is_signed_in_reflects_device_and_sign_in(devices: DeviceStore) -> None:
    user_id = uuid.uuid4().hex
    device_id = phone(user_id, 1).device_id
    assert await devices.is_signed_in(user_id, device_id) is None
    await devices.save_if_unchanged((await devices.load(user_id)).with_signed_in(phone(user_id, 1), 10))
    assert await devices.is_signed_in(user_id, device_id) is True
    chain = (await devices.load(user_id)).get(device_id).chain
    assert chain is not None
    assert await devices.is_signed_in(user_id, device_id, sign_in_id(chain.family)) is True
    assert await devices.is_signed_in(user_id, device_id, "another") is False
    assert await devices.is_signed_in(user_id, phone(user_id, 2).device_id) is None
    await devices.save_if_unchanged((await devices.load(user_id)).with_signed_out(device_id))
    assert await devices.is_signed_in(user_id, device_id) is False
