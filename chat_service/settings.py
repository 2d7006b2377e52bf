"""The settings of a chat server, from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from chat_service.accounts.accounts import AccountSettings
from chat_service.accounts.attempts import Allowance
from chat_service.limits import Limits
from servicekit.config import Address, Addresses, Settings
from servicekit.telemetry import LogFormat


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
    entries_per_second: int = Field(default=50, gt=0)
    entries_burst: int = Field(default=100, gt=0)
    # False: words of messages are not kept, which makes writing cheaper, and SearchMessages is refused.
    search: bool = True
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
            outbox_bytes=self.outbox_bytes,
            outbox_patience_seconds=self.outbox_patience_seconds,
        )

    @property
    def accounts(self) -> AccountSettings:
        """The bounds of accounts."""
        return AccountSettings(
            max_devices=self.max_devices,
            tries_per_peer=Allowance(self.sign_in_rate, self.sign_in_burst),
            sign_in_here=self.sign_in_here,
            deletion_margin=self.deletion_margin_seconds,
        )
