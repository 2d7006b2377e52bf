"""The tracing of a stack: the receiver of its traces, and the share that is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from devstack.errors import SetupError

DEFAULT_OTLP_PORT = 4318


@dataclass(frozen=True, slots=True)
class Tracing:
    """Traces go to `endpoint`, an OTLP receiver at http://host:port; `ratio`, 0 to 1, is the share that is sampled.

    Raises SetupError for another endpoint.
    """

    endpoint: str
    ratio: float

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.endpoint)
            valid = parts.scheme == "http" and parts.hostname and not parts.path.strip("/") and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise SetupError(f"{self.endpoint} is no OTLP endpoint; it looks like http://127.0.0.1:4318.")

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a service."""
        return {"PARLEY_OTLP_ENDPOINT": self.endpoint, "PARLEY_TRACE_RATIO": str(self.ratio)}

    @property
    def envoy_values(self) -> dict[str, object]:
        """The values of the placeholders of Envoy's configuration."""
        parts = urlsplit(self.endpoint)
        port = parts.port or DEFAULT_OTLP_PORT
        return {"OTLP_HOST": parts.hostname, "OTLP_PORT": port, "TRACE_PERCENT": self.ratio * 100}
