"""The decision of events: which devices get which notification, and why other users get none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cachetools import TTLCache

from notify_service.delivery.signed_in import SignedInDevices
from notify_service.model.composition import compose_notification
from notify_service.model.decision import ConversationContext, PushDecision, PushOutcome, choose_entry
from notify_service.model.events import NewMessage, NotifyingEntry, QueuedEntries
from notify_service.model.ports import Directory, PreferencesStore, TokenStore
from notify_service.model.preferences import DEFAULT_PREFERENCES, Preferences
from notify_service.model.push import Notification
from notify_service.model.registration import Registration
from servicekit.batch_loader import BatchLoader
from servicekit.clock import Clock

# That a user has no token is traced at most this often.
NO_TOKEN_INTERVAL_S: Final = 60.0
MAX_USERS: Final = 100_000


@dataclass(frozen=True, slots=True)
class UserPushes:
    """The notifications of one entry for the devices of one user, who has read the conversation up to `read_seq`."""

    user_id: str
    entry: NotifyingEntry
    read_seq: int
    notifications: Sequence[tuple[Registration, Notification]]


@dataclass(slots=True)
class DecidedEvent:
    """A decided event: its pushes, and for other users the decisions that say why there are none."""

    pushes: list[UserPushes] = field(default_factory=list)
    refusals: list[tuple[str, PushDecision]] = field(default_factory=list)


class Decider:
    """Decides events with one query for the tokens, one for the preferences, and one call for each author."""

    def __init__(
        self,
        tokens: TokenStore,
        preferences: PreferencesStore,
        directory: Directory,
        devices: SignedInDevices,
        clock: Clock,
    ) -> None:
        # Events are decided concurrently; their queries are joined.
        self._tokens = BatchLoader[str, list[Registration]](tokens.find_all)
        self._preferences = BatchLoader[str, Preferences](preferences.find_all)
        self._directory = directory
        self._devices = devices
        self._clock = clock
        self._without_token: TTLCache[str, bool] = TTLCache(MAX_USERS, NO_TOKEN_INTERVAL_S, timer=clock.monotonic)

    async def find_registrations(self, user_id: str) -> list[Registration]:
        """Return the registrations of devices of a user that are signed in. Raise StoreUnavailable."""
        registrations = (await self._tokens.get([user_id])).get(user_id, [])
        return (await self._devices.separate(registrations))[0]

    async def decide(self, event: QueuedEntries, device_id: str = "") -> DecidedEvent:
        """Decide an event, with `device_id` for that device alone. Raise StoreUnavailable, ServiceUnavailable."""
        decided = DecidedEvent()
        if not event.entries:
            return decided
        registrations = await self._find_tokens(event, device_id, decided)
        if not registrations:
            return decided
        preferences = await self._preferences.get(registrations)
        contexts = await self._describe(event, registrations)
        for user_id, found in registrations.items():
            await self._decide_user(event, found, preferences.get(user_id, DEFAULT_PREFERENCES), contexts, decided)
        return decided

    async def _find_tokens(
        self, event: QueuedEntries, device_id: str, decided: DecidedEvent
    ) -> Mapping[str, list[Registration]]:
        found = await self._tokens.get(event.user_ids)
        for user_id in event.user_ids:
            others = [each for each in event.entries if each.author_id != user_id]
            if user_id not in found and others and user_id not in self._without_token:
                self._without_token[user_id] = True
                decided.refusals.append((user_id, self._decision(event, others[-1], PushOutcome.NO_TOKEN)))
        chosen = {user: [each for each in of if device_id in ("", each.device_id)] for user, of in found.items()}
        return {user_id: of for user_id, of in chosen.items() if of}

    async def _describe(self, event: QueuedEntries, user_ids: Collection[str]) -> Mapping[str, ConversationContext]:
        """Return the contexts by author."""
        contexts = {}
        for author_id in dict.fromkeys(each.author_id for each in event.entries):
            entries = [each for each in event.entries if each.author_id == author_id]
            targets = {each.target_seq for each in entries if each.target_seq}
            messages = [each.seq for each in entries if isinstance(each.change, NewMessage)]
            contexts[author_id] = await self._directory.describe(
                event.conversation_id, author_id, user_ids, sorted(targets), event.entries[-1].seq, messages
            )
        return contexts

    async def _decide_user(
        self,
        event: QueuedEntries,
        registrations: Sequence[Registration],
        preferences: Preferences,
        contexts: Mapping[str, ConversationContext],
        decided: DecidedEvent,
    ) -> None:
        user_id = registrations[0].user_id
        verdict = choose_entry(event.entries, user_id, preferences, contexts, self._clock.now_ms())
        if verdict is None:
            return
        entry = verdict.entry
        if verdict.refusal is not None:
            decided.refusals.append((user_id, self._decision(event, entry, verdict.refusal)))
            return
        present, gone = await self._devices.separate(registrations)
        for each in gone:
            refusal = self._decision(event, entry, PushOutcome.SIGNED_OUT, each)
            decided.refusals.append((user_id, refusal))
        context = contexts[entry.author_id]
        notifications = [
            (
                each,
                compose_notification(
                    event.conversation_id,
                    entry,
                    context,
                    user_id,
                    preview=preferences.preview,
                    language=each.language,
                ),
            )
            for each in present
        ]
        if notifications:
            read_seq = context.recipients[user_id].read_seq
            decided.pushes.append(UserPushes(user_id, entry, read_seq, notifications))

    def _decision(
        self,
        event: QueuedEntries,
        entry: NotifyingEntry,
        outcome: PushOutcome,
        registration: Registration | None = None,
    ) -> PushDecision:
        device_id, provider = ("", None) if registration is None else (registration.device_id, registration.provider)
        return PushDecision(self._clock.now_ms(), event.conversation_id, entry.seq, outcome, device_id, provider)
