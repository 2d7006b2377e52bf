"""The certificate authorities that a client trusts if its door names none: those of the system."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

# Where systems keep their authorities in one file: Debian, Fedora, Alpine and macOS.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def system_authorities() -> bytes | None:
    """Return the authorities of the system, or those in the file that SSL_CERT_FILE names, in PEM.

    None: gRPC uses the authorities that come with it, because the system has no such file, or those that its own
    variable GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names.
    """
    if "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in os.environ:
        return None
    candidates = (ssl.get_default_verify_paths().cafile, *_BUNDLES)
    found = (path for path in map(Path, filter(None, candidates)) if path.is_file())
    return next((path.read_bytes() for path in found), None)
