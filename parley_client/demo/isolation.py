"""The scenes of who may not: strangers, former members, revoked devices."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress

from parley_client.demo.findings import Findings
from parley_client.demo.participants import Player, Silence
from parley_client.demo.record import seen
from parley_client.errors import NotFound, ParleyError, SignedOut, Unauthenticated


async def strangers(found: Findings, patience: float) -> None:
    """Eve is kept out of everything."""
    eve, calls = found.eve, found.eve.client
    await eve.join(patience)
    await _expect_not_found(found, "eve saw the group", calls.conversations.get(found.group))
    await _expect_not_found(found, "eve saw alice's and bob's chat", calls.conversations.get(found.direct))
    await _expect_not_found(found, "eve could send", eve.say(found.direct, "let me in"))
    await _expect_not_found(found, "eve could read history", _history(eve, found.direct, strict=True))
    eve.look(found.direct)
    await eve.until(
        lambda: found.direct in eve.gone, "eve's stream did not answer a fetch of what is not hers", patience
    )
    if eve.notebook.pages.get(found.direct):
        found.trouble("P8", "eve could read the log")


async def former_members(found: Findings, patience: float) -> None:
    """Carol is kept out of all that comes after she was removed."""
    await found.alice.client.conversations.remove_member(found.group, found.carol.user_id)
    secret = [await found.alice.say(found.group, f"behind carol's back {n}") for n in range(3)]
    found.carol_until = secret[0].seq - 1
    await found.bob.arrival(secret[-1].text, patience)
    await _expect_not_found(found, "carol could still send", found.carol.say(found.group, "am I still here?"))
    texts = {each.text for each in secret}
    for text in texts & found.carol.arrivals.keys():
        found.trouble("P8", f"carol was given “{text}” after she was removed")
    for text in texts & set(await _history(found.carol, found.group)):
        found.trouble("P8", f"carol could read “{text}” after she was removed")


async def revocation(found: Findings, patience: float) -> None:
    """Alice signs her laptop out from her phone."""
    laptop = found.laptop
    # It gets nothing any more afterwards. What is missing by then is judged as such, and is no matter of isolation.
    with suppress(Silence):
        await laptop.until(lambda: found.has_all(laptop, found.group), "not everything reached the laptop", patience)
    await found.alice.client.accounts.revoke(laptop.session.device_id)
    await laptop.until(lambda: laptop.ended, "the revoked laptop was not cut off", patience)
    if not isinstance(laptop.ended, SignedOut):
        found.trouble("P8", f"the revoked laptop was told {laptop.ended}")
    try:
        await laptop.client.conversations.get(found.direct)
    except Unauthenticated:
        return
    found.trouble("P8", "the revoked laptop could still read")


async def _expect_not_found(found: Findings, trouble: str, call: Awaitable[object]) -> None:
    try:
        await call
    except NotFound:
        return
    found.trouble("P8", trouble)


async def _history(player: Player, conversation: str, *, strict: bool = False) -> list[str]:
    try:
        return [seen(each).what async for each in player.client.messages.before(conversation, limit=200)]
    except ParleyError:
        if strict:
            raise
        return []
