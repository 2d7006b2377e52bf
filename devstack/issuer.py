"""Whose tokens a stack takes: its own, or those of another issuer that signs its users in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Issuer:
    """What tokens say of themselves, and where the public keys are that they are signed with (a JWKS file)."""

    name: str
    audience: str
    jwks: Path

    @property
    def environment(self) -> dict[str, str]:
        """What chat servers are told of it."""
        return {
            "PARLEY_JWKS_FILE": str(self.jwks),
            "PARLEY_TOKEN_ISSUER": self.name,
            "PARLEY_TOKEN_AUDIENCE": self.audience,
        }


def local_issuer(jwks: Path) -> Issuer:
    """That of a stack which signs its users in itself."""
    return Issuer("parley", "parley", jwks)
