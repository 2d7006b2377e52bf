"""The provider token of APNs: a JWT (ES256) that names the team.

Source: Apple, “Establishing a token-based connection to APNs”: a token is refused one hour after its `iat`, and must
not be renewed more often than every 20 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from servicekit.clock import Clock
from servicekit.config import ConfigurationError, read_file
from servicekit.keys import signing_key

RENEW_AFTER_S: Final = 40 * 60
MIN_AGE_S: Final = 20 * 60


@dataclass(frozen=True, slots=True)
class ApnsKey:
    """A key for APNs: the private key of the `.p8` file, its id, and the id of the team, each of 10 characters."""

    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    key_id: str
    team_id: str

    @classmethod
    def from_file(cls, path: Path, key_id: str, team_id: str) -> ApnsKey:
        """Return the key of a `.p8` file. Raise ConfigurationError if it or an id cannot be used."""
        for name, value in (("key", key_id), ("team", team_id)):
            if len(value) != 10 or not value.isascii() or not value.isalnum():
                raise ConfigurationError(
                    f"The {name} id of APNs, {value!r}, must have 10 letters and digits. "
                    "Copy it from developer.apple.com, “Certificates, Identifiers & Profiles”."
                )
        try:
            private_key = signing_key(read_file(path, bytes, "an APNs key"))
        except ConfigurationError as error:
            raise ConfigurationError(
                f"The APNs key in {path} cannot be used: {error} Create a key for the Apple Push Notifications service "
                "on developer.apple.com, and name its .p8 file."
            ) from None
        return cls(private_key, key_id, team_id)


class ApnsProviderToken:
    """The current provider token, renewed after RENEW_AFTER_S."""

    def __init__(self, key: ApnsKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._token = ""
        self._signed_s = 0.0

    def current(self) -> str:
        """Return the token, a new one if it is due."""
        if not self._token or not 0 <= self._age_s() < RENEW_AFTER_S:
            self._sign()
        return self._token

    def renew(self, expired: str) -> bool:
        """Replace the token `expired`, which Apple called expired; False if it is too young to be replaced.

        A token that is refused although it is young means that the clock of this machine is wrong.
        """
        if expired != self._token:
            return True
        if self._age_s() < MIN_AGE_S:
            return False
        self._sign()
        return True

    def _age_s(self) -> float:
        return self._clock.now_ms() / 1000 - self._signed_s

    def _sign(self) -> None:
        self._signed_s = self._clock.now_ms() / 1000
        self._token = jwt.encode(
            {"iss": self._key.team_id, "iat": int(self._signed_s)},
            self._key.private_key,
            algorithm="ES256",
            headers={"kid": self._key.key_id},
        )
