"""The configuration files of Envoy: its own, and one with the endpoints of each cluster (EDS)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from devstack.certificates import DOOR, TRUST_DOMAIN, StackCertificates
from devstack.envoy_secrets import render_secrets
from devstack.envoy_template import render_configuration
from devstack.issuer import Issuer
from devstack.local_http import fetch
from devstack.ports import LOOPBACK, Ports
from devstack.s3 import BUCKET, S3Address
from devstack.services import Services
from devstack.tracing import Tracing
from servicekit.transport import GATEWAY

_ASSIGNMENT_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
# Above any load of one machine: benchmarks and tests bring more devices than a pod takes.
_MAX_CONNECTIONS: Final = 100_000
_MAX_HEAP_BYTES: Final = 16 << 30


class EnvoyConfig:
    """The configuration files of one Envoy in `folder`, and queries of its administration interface.

    With the address of an `s3` store it also serves presigned addresses, with `certificates` it speaks TLS, and with
    `tracing` it records traces.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        services: Services,
        issuer: Issuer,
        s3: S3Address | None,
        access_log: Path,
        certificates: StackCertificates | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.configuration = folder / "envoy.yaml"
        self._endpoints = folder / "endpoints"
        self._admin = f"http://{LOOPBACK}:{ports.envoy_admin}"
        self._endpoints.mkdir(parents=True, exist_ok=True)
        values: dict[str, object] = {
            "DOOR_ADDRESS": LOOPBACK,
            "DOOR_PORT": ports.door,
            "MEDIA_ADDRESS": LOOPBACK,
            "MEDIA_PORT": ports.media,
            "S3_HOST": s3.host if s3 else "",
            "S3_PORT": s3.port if s3 else 0,
            "S3_BUCKET": BUCKET,
            "TRUSTED_HOPS": 0,
            "MAX_CONNECTIONS": _MAX_CONNECTIONS,
            "MAX_HEAP_BYTES": _MAX_HEAP_BYTES,
            "ADMIN_PORT": ports.envoy_admin,
            "ISSUER": issuer.name,
            "AUDIENCE": issuer.audience,
            "JWKS_FILE": issuer.jwks,
            "ENDPOINTS_FOLDER": self._endpoints,
            "ACCESS_LOG": access_log,
            **(tracing.envoy_values if tracing else {}),
        }
        if certificates is not None:
            values |= {"SECRETS_FOLDER": self._write_secrets(folder, certificates), "TRUST_DOMAIN": TRUST_DOMAIN}
        rendered = render_configuration(
            values,
            services,
            has_s3=s3 is not None,
            tls=certificates is not None,
            traces=tracing is not None,
        )
        self.configuration.write_text(rendered)

    @staticmethod
    def _write_secrets(folder: Path, certificates: StackCertificates) -> Path:
        """Write the files that name the certificates, and return their folder."""
        secrets = folder / "secrets"
        secrets.mkdir(exist_ok=True)
        for name, text in render_secrets(certificates.folder_of(DOOR), certificates.folder_of(GATEWAY)).items():
            (secrets / name).write_text(text)
        return secrets

    def set_endpoints(self, service: str, addresses: Sequence[str]) -> None:
        """Set the endpoints of the cluster of a service (`ip:port`); a running Envoy reloads them immediately."""
        # Envoy watches for renames, so it never reads a file that is half written.
        draft = self._endpoints / f"{service}.new"
        draft.write_text(endpoint_assignment(service, addresses))
        draft.replace(self._endpoints / f"{service}.yaml")

    def probe(self) -> str | None:
        """Return None if Envoy accepts calls, else the error."""
        try:
            fetch(f"{self._admin}/ready")
        except OSError as error:
            return str(error)
        return None

    def healthy_endpoints(self, service: str) -> set[str]:
        """Return the endpoints of a service that Envoy routes calls to now.

        None are healthy while its administration port is unreachable.
        """
        try:
            clusters = json.loads(fetch(f"{self._admin}/clusters?format=json"))["cluster_statuses"]
        except OSError:
            return set()
        named = (cluster for cluster in clusters if cluster["name"] == service)
        hosts = [host for cluster in named for host in cluster.get("host_statuses", [])]
        return {_host_and_port(host) for host in hosts if _is_healthy(host["health_status"])}


def endpoint_assignment(service: str, addresses: Sequence[str]) -> str:
    """Return the EDS file of a service with these endpoints, as JSON, which is also YAML."""
    endpoints = [{"endpoint": {"address": {"socket_address": _socket_address(address)}}} for address in addresses]
    assignment = {"@type": _ASSIGNMENT_TYPE, "cluster_name": service, "endpoints": [{"lb_endpoints": endpoints}]}
    return json.dumps({"resources": [assignment]}, indent=1)


def _socket_address(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"address": host, "port_value": int(port)}


def _host_and_port(host: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    socket = host["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


def _is_healthy(health: Mapping[str, object]) -> bool:
    return not any(value is True for name, value in health.items() if name.startswith(("failed", "pending")))
