"""Calls that change things: refused once where asking again is of no use, and answered whole."""

import pytest

from parley.chat.v1 import entry_pb2
from parley_client import NotAllowed, Unauthenticated
from tests.unit.client.conftest import Cast
from tests.unit.client.stage import Stage


async def test_a_wrong_password_is_no_wrong_token(cast: Cast, stage: Stage) -> None:
    alice = await cast.client("alice")
    session = alice.session
    with pytest.raises(Unauthenticated):
        await alice.accounts.change_password("wrong", "better than before")
    with pytest.raises(Unauthenticated):
        await alice.accounts.delete_account("wrong")
    assert alice.session == session
    await alice.accounts.change_password("password", "better than before")
    await alice.accounts.delete_account("better than before")
    assert alice.session is None


async def test_blocks_devices_and_the_archive(cast: Cast) -> None:
    alice, laptop = await cast.client("alice"), await cast.client("alice")
    await cast.client("bob")
    bob = (await alice.accounts.find("bob")).user_id
    await alice.accounts.block(bob)
    assert [each async for each in alice.accounts.blocked()] == [bob]
    await alice.accounts.unblock(bob)
    assert [each async for each in alice.accounts.blocked()] == []
    [here, there] = await alice.accounts.devices()
    assert (here.current, there.current) == (True, False)
    await alice.accounts.revoke(there.device_id)
    with pytest.raises(Unauthenticated):
        await laptop.accounts.profile()
    assert b"".join([part async for part in alice.accounts.export()]) == b"PK first, second"


async def test_groups_are_changed_by_admins_and_left_by_anybody(cast: Cast) -> None:
    alice, bob = await cast.client("alice"), await cast.client("bob")
    carol = await cast.client("carol")
    ids = [(await alice.accounts.find(name)).user_id for name in ("bob", "carol")]
    group = (await alice.conversations.create_group("Friday", ids)).conversation_id
    with pytest.raises(NotAllowed):
        await bob.conversations.rename(group, "Bob's")
    await alice.conversations.set_role(group, ids[0], entry_pb2.ROLE_ADMIN)
    assert (await bob.conversations.rename(group, "Bob's")).title == "Bob's"
    await carol.conversations.leave(group)
    assert len((await alice.conversations.get(group)).members) == 2
    sent = await alice.messages.send(group, "where did carol go?")
    readers = await alice.messages.readers(group, sent.seq)
    assert ids[0] in {each.user_id for each in readers}
    found = [each.seq async for each in bob.messages.search("CAROL go")]
    assert found == [sent.seq]
