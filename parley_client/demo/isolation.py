"""The scenes of who may not: strangers, former members, revoked devices."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress

from parley_client.demo.findings import Findings
from parley_client.demo.participants import ObservationTimeout, Participant
from parley_client.demo.record import record_entry
from parley_client.errors import NotFound, ParleyError, SignedOut, Unauthenticated


async def check_strangers(found: Findings, patience: float) -> None:
    """Eve is kept out of everything."""
    eve, calls = found.eve, found.eve.client
    await eve.connect(patience)
    await _expect_not_found(found, "eve saw the group", calls.conversations.get(found.group))
    await _expect_not_found(found, "eve saw alice's and bob's chat", calls.conversations.get(found.direct))
    await _expect_not_found(found, "eve could send", eve.send(found.direct, "let me in"))
    await _expect_not_found(found, "eve could read history", _history_texts(eve, found.direct, strict=True))
    eve.fetch(found.direct)
    await eve.wait_until(
        lambda: found.direct in eve.lost_conversations,
        "eve's stream did not answer a fetch of what is not hers",
        patience,
    )
    if eve.record.entries.get(found.direct):
        found.add_failure("P8", "eve could read the log")


async def check_former_members(found: Findings, patience: float) -> None:
    """Carol is kept out of all that comes after she was removed."""
    await found.alice.client.conversations.remove_member(found.group, found.carol.user_id)
    secret = [await found.alice.send(found.group, f"behind carol's back {n}") for n in range(3)]
    found.carol_last_seq = secret[0].seq - 1
    await found.bob.wait_received(secret[-1].text, patience)
    await _expect_not_found(found, "carol could still send", found.carol.send(found.group, "am I still here?"))
    texts = {each.text for each in secret}
    for text in texts & found.carol.arrival_times.keys():
        found.add_failure("P8", f"carol was given “{text}” after she was removed")
    for text in texts & set(await _history_texts(found.carol, found.group)):
        found.add_failure("P8", f"carol could read “{text}” after she was removed")


async def check_revocation(found: Findings, patience: float) -> None:
    """Alice signs her laptop out from her phone."""
    laptop = found.laptop
    # It gets nothing any more afterwards. What is missing by then is judged as such, and is no matter of isolation.
    with suppress(ObservationTimeout):
        await laptop.wait_until(
            lambda: found.received_all(laptop, found.group), "not everything reached the laptop", patience
        )
    await found.alice.client.accounts.revoke(laptop.session.device_id)
    await laptop.wait_until(lambda: laptop.end_error, "the revoked laptop was not cut off", patience)
    if not isinstance(laptop.end_error, SignedOut):
        found.add_failure("P8", f"the revoked laptop was told {laptop.end_error}")
    try:
        await laptop.client.conversations.get(found.direct)
    except Unauthenticated:
        return
    found.add_failure("P8", "the revoked laptop could still read")


async def _expect_not_found(found: Findings, trouble: str, call: Awaitable[object]) -> None:
    try:
        await call
    except NotFound:
        return
    found.add_failure("P8", trouble)


async def _history_texts(player: Participant, conversation: str, *, strict: bool = False) -> list[str]:
    try:
        return [record_entry(each).content async for each in player.client.messages.before(conversation, limit=200)]
    except ParleyError:
        if strict:
            raise
        return []
