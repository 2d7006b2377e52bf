"""An environment for accounts: a real MongoDB, a manual clock, and a record of sign-outs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chat_service.accounts.accounts import Accounts, AccountSettings
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.errors import DeviceRevoked
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.privacy import GroupConsent
from chat_service.accounts.profiles import ProfileService
from chat_service.accounts.sign_in_sessions import SignInSession
from chat_service.errors import OwnerUnavailable
from chat_service.history.history import History
from chat_service.model.cursor import Cursor, IndexReading
from chat_service.model.media import IMAGE_KIND, ClaimOutcome, MediaFacts
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.attempts import MongoAttemptCounter
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.devices import MongoDeviceStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.relations import MongoBlockStore, MongoContacts
from servicekit import mongo
from servicekit.auth import Claims, TokenSigner, TokenVerifier, generate_signing_key, jwks_of
from servicekit.failure import Failure
from tests.clock import ManualClock

HOME = "127.0.0.1:5101"
VIDEO, NO_FILE = "d" * 32, "e" * 32


class UnusedIndex:
    """A change index that is neither written nor read."""

    async def touch(self, touches: Mapping[str, Collection[str]]) -> None:
        raise AssertionError("accounts must not touch conversations")

    async def read_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        raise AssertionError("accounts must not read changes")


class PictureCatalog:
    """A catalog in which every file but VIDEO is a picture; NO_FILE is none that the user may see."""

    async def claim(self, _: str, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        picture, video = MediaFacts(IMAGE_KIND, "image/png", "", 1), MediaFacts(IMAGE_KIND + 1, "video/mp4", "", 1)
        missing = Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND")
        known: dict[str, ClaimOutcome] = {VIDEO: video, NO_FILE: missing}
        return {media_id: known.get(media_id, picture) for media_id in media_ids}


@dataclass
class AccountsEnvironment:
    """The dependencies of accounts, and records of their notifications."""

    database: mongo.Database
    passwords: PasswordHasherPool
    key: bytes = field(default_factory=generate_signing_key)
    # Starts at the current time: the database expires documents by its own clock.
    clock: ManualClock = field(default_factory=lambda: ManualClock(time.time_ns() // 1_000_000))
    signed_out: list[tuple[str, str, str]] = field(default_factory=list)
    notified_pairs: list[tuple[str, str]] = field(default_factory=list)
    # The users who begin to leave their groups, and those who have left them.
    leaving: list[str] = field(default_factory=list)
    left_groups: list[str] = field(default_factory=list)
    may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    owner_unavailable: bool = False

    def __post_init__(self) -> None:
        self.may_leave.set()

    def accounts(self, settings: AccountSettings | None = None) -> Accounts:
        """Return the accounts of one server; several servers share the database."""
        return Accounts(
            MongoAccountStore(self.database),
            MongoDeviceStore(self.database),
            MongoAttemptCounter(self.database),
            self.passwords,
            TokenSigner(self.key, issuer="parley", audience="parley", clock=self.clock),
            self.clock,
            home_of=lambda _: HOME,
            on_signed_out=self._on_signed_out,
            leave_groups=self._leave_groups,
            purges=(MongoBlockStore(self.database).delete_all_of,),
            settings=settings,
        )

    def profiles(self) -> ProfileService:
        """Return a service of public profiles."""
        return ProfileService(MongoAccountStore(self.database))

    def blocking(self) -> BlockService:
        """Return a service of blocks that records the pairs whose owner it notified."""
        return BlockService(MongoBlockStore(self.database), self.profiles().filter_existing, self._on_block_changed)

    def consent(self) -> GroupConsent:
        """Return the rules that decide who may add a user to groups."""
        blocking, writing_to = (
            MongoBlockStore(self.database).filter_blocking,
            MongoContacts(self.database).filter_acquainted,
        )
        return GroupConsent(MongoAccountStore(self.database).load_adding_rules, blocking, writing_to)

    def history(self) -> History:
        """Return a history without a change index."""
        database = self.database
        return History(
            MongoLog(database), MongoConversationStore(database), MongoMembershipStore(database), UnusedIndex()
        )

    def verifier(self) -> TokenVerifier:
        """Return the verifier that every edge uses for tokens."""
        return TokenVerifier(jwks_of(self.key), issuer="parley", audience="parley", clock=self.clock)

    def claims(self, session: SignInSession) -> Claims:
        """Return the claims of the session's access token."""
        return self.verifier().verify(session.access_token)

    async def _on_block_changed(self, user_id: str, other_id: str) -> None:
        if self.owner_unavailable:
            raise OwnerUnavailable
        self.notified_pairs.append((user_id, other_id))

    async def _leave_groups(self, user_id: str) -> None:
        if self.owner_unavailable:
            raise OwnerUnavailable
        self.leaving.append(user_id)
        await self.may_leave.wait()
        self.left_groups.append(user_id)

    async def _on_signed_out(self, user_id: str, device_id: str, reason: str) -> None:
        self.signed_out.append((user_id, device_id, reason))


async def is_admitted(accounts: Accounts, user_id: str, device_id: str) -> bool:
    """Return True if `accounts` admit a token of this device, whichever sign-in it came from."""
    try:
        await accounts.admit(Claims(user_id, device_id, expires_at=2e9))
    except DeviceRevoked:
        return False
    return True
