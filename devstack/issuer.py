"""The issuer of the access tokens that a stack accepts: the stack itself, or an external one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer: the `iss` and `aud` of its tokens, and the JWKS file with its public keys."""

    name: str
    audience: str
    jwks: Path

    @property
    def environment(self) -> dict[str, str]:
        """The settings of chat servers that accept this issuer."""
        return {
            "PARLEY_JWKS_FILE": str(self.jwks),
            "PARLEY_TOKEN_ISSUER": self.name,
            "PARLEY_TOKEN_AUDIENCE": self.audience,
        }


def local_issuer(jwks: Path) -> Issuer:
    """Return the issuer of a stack that signs its users in itself."""
    return Issuer("parley", "parley", jwks)
