"""The secrets of an Envoy with TLS (SDS): files that name certificates, which it reads again once they are replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from devstack.certificates import AUTHORITIES, CERTIFICATE, KEY

_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def render_secrets(door: Path, gateway: Path) -> dict[str, str]:
    """Return the secrets by the name of their file, as JSON, which is also YAML.

    Both folders have `tls.crt`, `tls.key` and `ca.crt`: `door` for the listeners, `gateway` for the services behind
    them. Replace their files by a rename in the folder.
    """
    return {
        "door.yaml": _secret("door", tls_certificate=_certificate(door)),
        "gateway.yaml": _secret("gateway", tls_certificate=_certificate(gateway)),
        "authorities.yaml": _secret(
            "authorities",
            validation_context={"trusted_ca": _file(gateway / AUTHORITIES), "watched_directory": _folder(gateway)},
        ),
    }


def _secret(name: str, **content: Any) -> str:
    return json.dumps({"resources": [{"@type": _SECRET_TYPE, "name": name, **content}]}, indent=1)


def _certificate(folder: Path) -> dict[str, Any]:
    return {
        "certificate_chain": _file(folder / CERTIFICATE),
        "private_key": _file(folder / KEY),
        "watched_directory": _folder(folder),
    }


def _file(path: Path) -> dict[str, str]:
    return {"filename": str(path)}


def _folder(path: Path) -> dict[str, str]:
    return {"path": str(path)}
