"""The settings of a chat server, read from the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, PlainValidator
from pydantic_settings import NoDecode

from chat_service.accounts.accounts import AccountSettings
from chat_service.accounts.stranger_limits import StrangerLimits
from chat_service.limits import Limits
from chat_service.model.retention import FOREVER, Retention, RetentionPolicy, RetentionRule
from servicekit.config import Address, MediaTypes
from servicekit.rate_limiter import RateLimit
from servicekit.settings import MongoSettings, RedisSettings, ServiceSettings

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
MIB: Final = 1024 * 1024
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})(s?)")


def _parse_retention(value: object) -> object:
    """Return the retention of `forever`, `relay_only`, a number of days, or seconds such as `5s` for trials.

    Raise ValueError for other text. Values that are not text are returned unchanged.
    """
    if not isinstance(value, str):
        return value
    if value in ("forever", "relay_only"):
        return FOREVER if value == "forever" else Retention(RetentionRule.RELAY_ONLY)
    if (age := _AGE.fullmatch(value)) is None:
        raise ValueError("must be forever, relay_only, or a number of days, such as 30")
    return Retention(RetentionRule.MAX_AGE, int(age[1]) * (1 if age[2] else DAY_S))


class ChatSettings(ServiceSettings, MongoSettings, RedisSettings):
    """The settings of a chat server, in addition to those of every service.

    If `sign_in_here` is false, Register and Login are refused.
    """

    # As for every service.
    listen: Address = "127.0.0.1:5101"
    # As for every service.
    internal_listen: Address = "127.0.0.1:6101"
    # The private key (PEM) that signs tokens; required unless another issuer signs users in.
    signing_key_file: Path | None = None
    # Seconds until an access token expires.
    token_lifetime: float = Field(default=600.0, gt=0)
    # Attempts to sign in or register per second and client address.
    sign_in_rate: float = Field(default=1.0, gt=0)
    # The burst of these attempts.
    sign_in_burst: int = Field(default=60, gt=0)
    # How often an hour strangers may add a user to groups or begin a 1-1 conversation with the user; also the burst.
    # Beyond that such calls fail with RATE_LIMITED.
    reached_by_strangers_per_hour: int = Field(default=200, gt=0)
    # How often an hour one user may do so to strangers; also the burst, so at least the members of a group.
    reached_strangers_per_hour: int = Field(default=1000, ge=100)
    # Devices per account.
    max_devices: int = Field(default=10, gt=0)
    # Seconds until the last data of a deleted account is removed; longer than any call takes.
    deletion_margin_seconds: float = Field(default=60.0, gt=0)
    # Messages of a device per second.
    sends_per_second: int = Field(default=20, gt=0)
    # The burst of these messages.
    sends_burst: int = Field(default=60, gt=0)
    # Entries of a conversation per second.
    entries_per_second: int = Field(default=50, gt=0)
    # The burst of these entries.
    entries_burst: int = Field(default=100, gt=0)
    # False: the words of messages are not indexed, which makes sends cheaper, and SearchMessages is refused.
    search: bool = True
    # False: this deployment runs no media service. Sends of files are refused at once, and an export lists none.
    media_service: bool = True
    # False: this deployment runs no presence service. Watches of presence are refused.
    presence_service: bool = True
    # False: this deployment runs no notify service.
    notify_service: bool = True
    # The largest file of one Upload call, as clients are told; media servers read the same variable.
    media_upload_bytes: int = Field(default=10 * MIB, gt=0)
    # The largest file, as clients are told; media servers read the same variable.
    media_file_bytes: int = Field(default=2048 * MIB, gt=0)
    # The types of files that may be uploaded, as clients are told; media servers read the same variable.
    media_types: MediaTypes = ()
    # True: a reaction may be any text of at most 64 bytes, such as the name of an app's own picture. False: only an
    # emoji.
    text_reactions: bool = False
    # The retention of conversations without a rule of their own: forever, a number of days, or relay_only; seconds (5s)
    # are for trials.
    retention: Annotated[Retention, NoDecode, PlainValidator(_parse_retention)] = FOREVER
    # Seconds between two sweeps for expired content.
    retention_pause_seconds: float = Field(default=60.0, gt=0)
    # Streams in handshake at once. Ten times as many wait for up to 3 s; others are refused with SERVER_BUSY.
    handshakes: int = Field(default=100, gt=0)
    # Bytes that may wait in the outbox of a stream.
    outbox_bytes: int = Field(default=1024 * 1024, gt=0)
    # Seconds after which a stream with a full outbox whose device reads nothing is closed.
    outbox_patience_seconds: float = Field(default=30.0, gt=0)

    @property
    def limits(self) -> Limits:
        """Return the limits of this server."""
        return Limits(
            sends_per_second=self.sends_per_second,
            sends_burst=self.sends_burst,
            entries_per_second=self.entries_per_second,
            entries_burst=self.entries_burst,
            handshakes=self.handshakes,
            outbox_bytes=self.outbox_bytes,
            outbox_patience_seconds=self.outbox_patience_seconds,
            media_upload_bytes=self.media_upload_bytes,
            media_file_bytes=self.media_file_bytes,
            media_types=self.media_types,
            text_reactions=self.text_reactions,
        )

    @property
    def retention_policy(self) -> RetentionPolicy:
        """Return the retention policy of this deployment."""
        return RetentionPolicy(self.retention, self.retention_pause_seconds)

    @property
    def stranger_limits(self) -> StrangerLimits:
        """Return the limits of what users may do to users who are not acquainted with them."""
        by, of = self.reached_by_strangers_per_hour, self.reached_strangers_per_hour
        return StrangerLimits(per_user=RateLimit(by / HOUR_S, by), per_actor=RateLimit(of / HOUR_S, of))

    @property
    def accounts(self) -> AccountSettings:
        """Return the settings of accounts."""
        return AccountSettings(
            max_devices=self.max_devices,
            attempts_per_address=RateLimit(self.sign_in_rate, self.sign_in_burst),
            sign_in_here=self.sign_in_here,
            purge_delay_s=self.deletion_margin_seconds,
        )
