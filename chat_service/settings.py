"""The settings of a chat server, from the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, PlainValidator, SecretStr
from pydantic_settings import NoDecode

from chat_service.accounts.accounts import AccountSettings
from chat_service.limits import Limits
from chat_service.model.retention import FOREVER, Retention, RetentionPolicy, RetentionRule
from servicekit.config import Address, Addresses, Settings
from servicekit.rate_limiter import RateLimit
from servicekit.telemetry import LogFormat

DAY_S: Final = 24 * 3600
_AGE: Final = re.compile(r"([1-9][0-9]{0,4})(s?)")


def _parse_retention(value: object) -> object:
    """`forever`, a number of days, `relay_only`; or, to try it out, seconds: `5s`."""
    if not isinstance(value, str):
        return value
    if value in ("forever", "relay_only"):
        return FOREVER if value == "forever" else Retention(RetentionRule.RELAY_ONLY)
    if (age := _AGE.fullmatch(value)) is None:
        raise ValueError("must be forever, relay_only, or a number of days, such as 30")
    return Retention(RetentionRule.MAX_AGE, int(age[1]) * (1 if age[2] else DAY_S))


class ChatSettings(Settings):
    """Each field is read from `PARLEY_` and its name in capitals."""

    listen: Address = "127.0.0.1:5101"
    internal_listen: Address = "127.0.0.1:6101"
    metrics_listen: Address | None = None
    # How others reach this server; the listening addresses where unset.
    advertise: Address | None = None
    internal_advertise: Address | None = None
    # Its name on the ring; the advertised address where unset.
    server_id: str | None = None
    mongo_uri: SecretStr
    mongo_database: str = "parley"
    redis_url: SecretStr
    etcd_endpoints: Addresses
    # The key that signs tokens; needed where users sign in here.
    signing_key_file: Path | None = None
    jwks_file: Path
    token_issuer: str = "parley"  # noqa: S105  a name
    token_audience: str = "parley"  # noqa: S105  a name
    # Seconds an access token lives.
    token_lifetime: float = Field(default=600.0, gt=0)
    service_credential_file: Path
    # Sign-ins and registrations a second that one address may try, and at once.
    sign_in_rate: float = Field(default=1.0, gt=0)
    sign_in_burst: int = Field(default=60, gt=0)
    # Devices an account may have.
    max_devices: int = Field(default=10, gt=0)
    # False where another issuer signs users in: Register and Login are refused, and whoever its tokens are of is a
    # user. JWKS, issuer and audience are then that issuer's.
    sign_in_here: bool = True
    # Seconds after which the last traces of a deleted account go; longer than any call takes.
    deletion_margin_seconds: float = Field(default=60.0, gt=0)
    log_format: LogFormat = "json"
    log_level: str = "info"
    otlp_endpoint: str | None = None
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    # Seconds between the wish to stop and the end.
    drain_seconds: float = Field(default=10.0, ge=0)
    sends_per_second: int = Field(default=20, gt=0)
    sends_burst: int = Field(default=60, gt=0)
    # Calls of a device that are no streams, of any kind.
    calls_per_second: int = Field(default=50, gt=0)
    calls_burst: int = Field(default=200, gt=0)
    entries_per_second: int = Field(default=50, gt=0)
    entries_burst: int = Field(default=100, gt=0)
    # False: words of messages are not kept, which makes writing cheaper, and SearchMessages is refused.
    search: bool = True
    # How long content is kept where a conversation says nothing else: forever, a number of days, or relay_only; in
    # seconds (5s) only to try it out. And how many seconds pass between two looks for what is due.
    retention: Annotated[Retention, NoDecode, PlainValidator(_parse_retention)] = FOREVER
    retention_pause_seconds: float = Field(default=60.0, gt=0)
    # Devices that may be connecting to this server at once. Ten times as many wait for their turn, up to 3 s; others
    # are asked to come again.
    handshakes: int = Field(default=100, gt=0)
    # What may wait for a device, in bytes, and how many seconds one that reads nothing is waited for.
    outbox_bytes: int = Field(default=1024 * 1024, gt=0)
    outbox_patience_seconds: float = Field(default=30.0, gt=0)

    @property
    def limits(self) -> Limits:
        """What this server takes."""
        return Limits(
            sends_per_second=self.sends_per_second,
            sends_burst=self.sends_burst,
            entries_per_second=self.entries_per_second,
            entries_burst=self.entries_burst,
            handshakes=self.handshakes,
            outbox_bytes=self.outbox_bytes,
            outbox_patience_seconds=self.outbox_patience_seconds,
        )

    @property
    def retention_policy(self) -> RetentionPolicy:
        """What this deployment says about retention."""
        return RetentionPolicy(self.retention, self.retention_pause_seconds)

    @property
    def accounts(self) -> AccountSettings:
        """The bounds of accounts."""
        return AccountSettings(
            max_devices=self.max_devices,
            attempts_per_address=RateLimit(self.sign_in_rate, self.sign_in_burst),
            sign_in_here=self.sign_in_here,
            deletion_margin=self.deletion_margin_seconds,
        )
