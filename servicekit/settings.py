"""The settings that services have in common; the settings class of a service inherits those that it needs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from servicekit.config import Address, Addresses, Settings
from servicekit.rate_limiter import RateLimit
from servicekit.telemetry import LogFormat


class ServiceSettings(Settings):
    """The settings of every service; each is read from the environment variable `PARLEY_` and its name in capitals."""

    listen: Address
    internal_listen: Address
    metrics_listen: Address | None = None
    # The addresses at which other servers and Envoy reach this server; default: the listening addresses.
    advertise: Address | None = None
    internal_advertise: Address | None = None
    # The name of this server among the servers of its service; default: the advertised address.
    server_id: str | None = None
    etcd_endpoints: Addresses
    jwks_file: Path
    token_issuer: str = "parley"  # noqa: S105  a name
    token_audience: str = "parley"  # noqa: S105  a name
    # False if another issuer signs users in. Then JWKS, issuer and audience are those of that issuer, and each subject
    # of its tokens is a user.
    sign_in_here: bool = True
    service_credential_file: Path
    # A FileDescriptorSet with the public services of the deployment, which reflection lists; unset: this server's own.
    reflection_file: Path | None = None
    log_format: LogFormat = "json"
    log_level: str = "info"
    # The OTLP endpoint for traces, http://host:4318; tracing is off if unset.
    otlp_endpoint: str | None = None
    # The sampling ratio of the traces that start here, 0 to 1; 0 disables tracing.
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    # Beyond that ratio: the messages a second whose traces clients have sampled, in each server; 0: none.
    trace_client_rate: float = Field(default=1.0, ge=0, le=1000)
    # Seconds of the drain: the server still serves calls, while its streams move to other servers.
    drain_seconds: float = Field(default=10.0, ge=0, le=3600)
    # The token bucket of a device: its unary and server-streaming calls, of all methods together.
    calls_per_second: int = Field(default=50, gt=0)
    calls_burst: int = Field(default=200, gt=0)

    @property
    def call_limit(self) -> RateLimit:
        """Return the rate limit of the calls of a device."""
        return RateLimit(self.calls_per_second, self.calls_burst)


class MongoSettings(Settings):
    """The settings of a service that stores data in MongoDB."""

    mongo_uri: SecretStr
    mongo_database: str = Field(default="parley", pattern=r"^[A-Za-z0-9_-]{1,38}$")


class RedisSettings(Settings):
    """The settings of a service that stores data in Redis."""

    redis_url: SecretStr
