"""The scene of edits, deletions and reactions, which must look the same on every device."""

from __future__ import annotations

from functools import partial

from parley_client.demo.findings import Findings
from parley_client.demo.participants import Participant


async def change_messages(findings: Findings, timeout_s: float) -> None:
    """Edit, delete and react in the group while the tablet is disconnected; check every device after it reconnects."""
    seqs = [(await findings.alice.send_unrecorded(findings.group, f"first version {n}")).seq for n in range(4)]
    await findings.tablet.disconnect()
    alice, laptop = findings.alice.client.messages, findings.laptop.client.messages
    await alice.edit(findings.group, seqs[0], "second version")
    await laptop.edit(findings.group, seqs[0], "third version")
    for participant, emoji in ((findings.bob, "❤"), (findings.carol, "🎉"), (findings.bob, "👍"), (findings.carol, "")):
        await participant.client.messages.set_reaction(findings.group, seqs[1], emoji)
    await laptop.delete(findings.group, seqs[2], for_all=True)
    await alice.delete(findings.group, seqs[3], for_all=False)
    await findings.tablet.connect()
    findings.expected_messages = {
        seqs[0]: ("third version", False, ()),
        seqs[1]: ("first version 1", False, ((findings.bob.user_id, "👍"),)),
        seqs[2]: ("", True, ()),
    }
    for participant in findings.devices:
        await participant.wait_until(
            partial(_shows_changes, findings, participant), f"{participant.name} does not show every change", timeout_s
        )
    # A deletion for oneself arrives only as the name of the conversation, and devices without repair do not fetch.
    for participant in (device for device in (findings.alice, findings.laptop) if device.repair):
        await participant.wait_until(
            partial(_is_hidden, participant, findings.group, seqs[3]),
            f"{participant.name} still shows the message that alice deleted for herself",
            timeout_s,
        )
    if _is_hidden(findings.bob, findings.group, seqs[3]):
        findings.add_failure("changes", "a message that alice deleted only for herself is gone on bob's phone")


def _shows_changes(findings: Findings, participant: Participant) -> bool:
    return not findings.message_differences(participant)


def _is_hidden(participant: Participant, conversation_id: str, seq: int) -> bool:
    return participant.view(conversation_id).message(seq) is None
