"""The scenes that check isolation: strangers, former members and revoked devices have no access."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress

from parley_client.demo.findings import Findings
from parley_client.demo.participants import ObservationTimeout, Participant
from parley_client.demo.record import record_entry
from parley_client.errors import NotFound, ParleyError, SignedOut, Unauthenticated


async def check_strangers(findings: Findings, timeout_s: float) -> None:
    """Check that eve, who is not a member, can neither read nor write."""
    eve, client = findings.eve, findings.eve.client
    await eve.connect()
    await _expect_not_found(findings, "eve saw the group", client.conversations.get(findings.group))
    await _expect_not_found(findings, "eve saw alice's and bob's chat", client.conversations.get(findings.direct))
    await _expect_not_found(findings, "eve could send", eve.send(findings.direct, "let me in"))
    await _expect_not_found(findings, "eve could read history", _history_texts(eve, findings.direct, strict=True))
    eve.fetch(findings.direct)
    await eve.wait_until(
        lambda: findings.direct in eve.lost_conversations,
        "eve's stream did not refuse a fetch of alice's and bob's conversation",
        timeout_s,
    )
    if eve.record.entries.get(findings.direct):
        findings.add_failure("P8", "eve could read the log")


async def check_former_members(findings: Findings, timeout_s: float) -> None:
    """Check that carol, once removed from the group, can neither write nor read later messages."""
    await findings.alice.client.conversations.remove_member(findings.group, findings.carol.user_id)
    later_messages = [await findings.alice.send(findings.group, f"behind carol's back {n}") for n in range(3)]
    findings.carol_last_seq = later_messages[0].seq - 1
    await findings.bob.wait_received(later_messages[-1].text, timeout_s)
    await _expect_not_found(findings, "carol could still send", findings.carol.send(findings.group, "am I still here?"))
    texts = {entry.text for entry in later_messages}
    for text in texts & findings.carol.arrival_times.keys():
        findings.add_failure("P8", f"carol received “{text}” after she was removed")
    for text in texts & set(await _history_texts(findings.carol, findings.group)):
        findings.add_failure("P8", f"carol could read “{text}” after she was removed")


async def check_revocation(findings: Findings, timeout_s: float) -> None:
    """Check that alice's laptop, once signed out from her phone, is disconnected and cannot read."""
    laptop = findings.laptop
    # The laptop receives nothing after its revocation. Messages missing by then fail P4, not isolation.
    with suppress(ObservationTimeout):
        await laptop.wait_until(
            lambda: findings.received_all(laptop, findings.group), "not every message reached the laptop", timeout_s
        )
    await findings.alice.client.accounts.revoke_device(laptop.session.device_id)
    await laptop.wait_until(lambda: laptop.end_error, "the revoked laptop was not disconnected", timeout_s)
    if not isinstance(laptop.end_error, SignedOut):
        findings.add_failure("P8", f"the revoked laptop's stream ended with {laptop.end_error}")
    try:
        await laptop.client.conversations.get(findings.direct)
    except Unauthenticated:
        return
    findings.add_failure("P8", "the revoked laptop could still read")


async def _expect_not_found(findings: Findings, failure: str, call: Awaitable[object]) -> None:
    try:
        await call
    except NotFound:
        return
    findings.add_failure("P8", failure)


async def _history_texts(participant: Participant, conversation: str, *, strict: bool = False) -> list[str]:
    try:
        return [
            record_entry(message.entry).content
            async for message in participant.client.messages.list_before(conversation, limit=200)
        ]
    except ParleyError:
        if strict:
            raise
        return []
