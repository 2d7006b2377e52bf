"""The secrets of a stack: made once for a folder, readable by its owner alone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from servicekit.auth import generate_signing_key, jwks_of


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Where they are: the key that signs tokens (PEM), its public half (JWKS), what services show each other."""

    signing_key: Path
    jwks: Path
    credential: Path


def ensure_secret_files(folder: Path) -> SecretFiles:
    """Those in `folder`, made where missing. The JWKS always follows the signing key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = SecretFiles(folder / "signing-key.pem", folder / "jwks.json", folder / "service-credential")
    if not files.signing_key.exists():
        _write_atomically(files.signing_key, generate_signing_key())
    if not files.credential.exists():
        _write_atomically(files.credential, f"{secrets.token_urlsafe(32)}\n".encode())
    _write_atomically(files.jwks, json.dumps(jwks_of(files.signing_key.read_bytes()), indent=2).encode())
    return files


def _write_atomically(path: Path, content: bytes) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
