"""The scene of second thoughts: what is edited, deleted and reacted to is the same on every device, wherever it was."""

from __future__ import annotations

from functools import partial

from parley_client.demo.findings import Findings
from parley_client.demo.participants import Participant


async def change_messages(found: Findings, patience: float) -> None:
    """Edits, deletions and reactions in the group, while the tablet is away; then it comes back."""
    seqs = [(await found.alice.send_unrecorded(found.group, f"a first thought {n}")).seq for n in range(4)]
    await found.tablet.disconnect()
    alice, laptop = found.alice.client.messages, found.laptop.client.messages
    await alice.edit(found.group, seqs[0], "a second thought")
    await laptop.edit(found.group, seqs[0], "a third thought")
    for player, emoji in ((found.bob, "❤"), (found.carol, "🎉"), (found.bob, "👍"), (found.carol, "")):
        await player.client.messages.set_reaction(found.group, seqs[1], emoji)
    await laptop.delete(found.group, seqs[2], for_all=True)
    await alice.delete(found.group, seqs[3], for_all=False)
    await found.tablet.connect(patience)
    found.expected_messages = {
        seqs[0]: ("a third thought", False, ()),
        seqs[1]: ("a first thought 1", False, ((found.bob.user_id, "👍"),)),
        seqs[2]: ("", True, ()),
    }
    for player in found.devices:
        await player.wait_until(
            partial(_shows_changes, found, player), f"{player.name} does not show every change", patience
        )
    # It is told by naming the conversation, and devices without repair do not look again.
    for player in (each for each in (found.alice, found.laptop) if each.repair):
        await player.wait_until(
            partial(_is_hidden, player, found.group, seqs[3]),
            f"{player.name} still shows what alice deleted for herself",
            patience,
        )
    if _is_hidden(found.bob, found.group, seqs[3]):
        found.add_failure("changes", "what alice deleted for herself alone is gone on bob's phone")


def _shows_changes(found: Findings, player: Participant) -> bool:
    return not found.message_differences(player)


def _is_hidden(player: Participant, conversation_id: str, seq: int) -> bool:
    return player.view(conversation_id).message(seq) is None
