"""The secrets of a stack: generated once per folder, readable only by their owner."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from devstack.s3 import generate_identities
from servicekit.auth import generate_signing_key, jwks_of


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """The paths of the secrets.

    The token signing key (PEM), its public half (JWKS), the service credential, S3's identities, the key of Web Push
    (PEM).
    """

    signing_key: Path
    jwks: Path
    credential: Path
    s3_identities: Path
    vapid_key: Path


def ensure_secret_files(folder: Path) -> SecretFiles:
    """Return the secrets in `folder`; generate missing ones. The JWKS is always derived from the signing key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = SecretFiles(
        folder / "signing-key.pem",
        folder / "jwks.json",
        folder / "service-credential",
        folder / "s3.json",
        folder / "vapid-key.pem",
    )
    if not files.signing_key.exists():
        write_secret(files.signing_key, generate_signing_key())
    if not files.credential.exists():
        write_secret(files.credential, f"{secrets.token_urlsafe(32)}\n".encode())
    if not files.vapid_key.exists():
        write_secret(files.vapid_key, generate_signing_key())
    if not files.s3_identities.exists():
        write_secret(files.s3_identities, generate_identities())
    write_secret(files.jwks, json.dumps(jwks_of(files.signing_key.read_bytes()), indent=2).encode())
    return files


def write_secret(path: Path, content: bytes) -> None:
    """Write a file atomically, with mode 0600 from its creation on."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
