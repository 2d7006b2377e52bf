"""Unary calls of the SDK: a permanent refusal is not retried, and responses are complete."""

from __future__ import annotations

import io
import secrets
import zipfile

import pytest

from parley.chat.v1 import entry_pb2
from parley_client import NotAllowed, Unauthenticated
from tests.raw.world import PASSWORD
from tests.scenarios.sdk.people import Pair, People, user_id

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

# In hex digits, of which an archive packs two into a byte.
LONG_TEXT = 16_000


async def test_wrong_password_keeps_session(people: People) -> None:
    alice = await people.client("alice")
    session = alice.session
    with pytest.raises(Unauthenticated):
        await alice.accounts.change_password("wrong", "better than before")
    with pytest.raises(Unauthenticated):
        await alice.accounts.delete_account("wrong")
    assert alice.session == session
    await alice.accounts.change_password(PASSWORD, "better than before")
    await alice.accounts.delete_account("better than before")
    assert alice.session is None


async def test_blocked_users_and_devices_are_listed_and_removed(people: People, pair: Pair) -> None:
    alice, laptop = pair.alice, await people.client("alice")
    await alice.accounts.block(pair.bob_id)
    assert [each async for each in alice.accounts.list_blocked()] == [pair.bob_id]
    await alice.accounts.unblock(pair.bob_id)
    assert [each async for each in alice.accounts.list_blocked()] == []
    [here, there] = await alice.accounts.list_devices()
    assert (here.current, there.current) == (True, False)
    await alice.accounts.revoke_device(there.device_id)
    with pytest.raises(Unauthenticated):
        await laptop.accounts.get_profile()


async def test_chunked_export_is_a_complete_archive(pair: Pair) -> None:
    for _ in range(10):
        await pair.alice.messages.send(pair.chat, secrets.token_hex(LONG_TEXT // 2))
    parts = [part async for part in pair.alice.accounts.export()]
    assert len(parts) > 1
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        assert "profile.json" in archive.namelist()


async def test_admin_changes_group_and_member_leaves_it(people: People) -> None:
    alice, bob, carol = [await people.client(name) for name in ("alice", "bob", "carol")]
    ids = [user_id(bob), user_id(carol)]
    group = (await alice.conversations.create_group("Friday", ids)).conversation_id
    with pytest.raises(NotAllowed):
        await bob.conversations.rename(group, "Bob's")
    await alice.conversations.set_role(group, ids[0], entry_pb2.ROLE_ADMIN)
    assert (await bob.conversations.rename(group, "Bob's")).title == "Bob's"
    await carol.conversations.leave(group)
    assert len((await alice.conversations.get(group)).members) == 2
    sent = await alice.messages.send(group, "where did carol go?")
    readers = await alice.messages.list_readers(group, sent.seq)
    assert ids[0] in {each.user_id for each in readers}
    found = [each.seq async for each in bob.messages.search("CAROL go")]
    assert found == [sent.seq]


async def test_users_are_found_by_login_name(people: People, pair: Pair) -> None:
    found = await pair.alice.accounts.find(people.login_name("bob"))
    assert (found.user_id, found.display_name) == (pair.bob_id, "bob")
