"""What Envoy reads: its configuration from the template, and the list of chat servers it follows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from devstack.issuer import Issuer
from devstack.local_http import fetch
from devstack.ports import LOOPBACK, Ports

_TEMPLATE = Path(__file__).resolve().parent.parent / "envoy" / "envoy.yaml"
_ASSIGNMENT_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


class EnvoyConfig:
    """The files of one Envoy in `folder`, and what it says about the chat servers behind it."""

    def __init__(self, folder: Path, ports: Ports, issuer: Issuer, access_log: Path) -> None:
        self.configuration = folder / "envoy.yaml"
        self._endpoints = folder / "endpoints" / "chat.yaml"
        self._admin = f"http://{LOOPBACK}:{ports.envoy_admin}"
        self._endpoints.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "DOOR_ADDRESS": LOOPBACK,
            "DOOR_PORT": ports.door,
            "ADMIN_PORT": ports.envoy_admin,
            "ISSUER": issuer.name,
            "AUDIENCE": issuer.audience,
            "JWKS_FILE": issuer.jwks,
            "ENDPOINTS_FOLDER": self._endpoints.parent,
            "ACCESS_LOG": access_log,
        }
        self.configuration.write_text(render_template(values))

    def set_endpoints(self, addresses: Sequence[str]) -> None:
        """Makes these (`ip:port`) the chat servers; a running Envoy takes the new list at once."""
        # Envoy watches for renames, and must never read half a file.
        draft = self._endpoints.with_suffix(".new")
        draft.write_text(endpoint_assignment(addresses))
        draft.replace(self._endpoints)

    def probe(self) -> str | None:
        """None when Envoy takes calls, else why not."""
        try:
            fetch(f"{self._admin}/ready")
        except OSError as error:
            return str(error)
        return None

    def healthy_endpoints(self) -> set[str]:
        """The chat servers that Envoy sends calls to now; none while it cannot be asked."""
        try:
            clusters = json.loads(fetch(f"{self._admin}/clusters?format=json"))["cluster_statuses"]
        except OSError:
            return set()
        hosts = [host for each in clusters if each["name"] == "chat" for host in each.get("host_statuses", [])]
        return {_host_and_port(host) for host in hosts if _is_healthy(host["health_status"])}


def render_template(values: Mapping[str, object]) -> str:
    """The template with its values. Raises KeyError when one is missing."""
    lines = _TEMPLATE.read_text().splitlines(keepends=True)
    # Comments go: what is left is short, and the ones that speak of `${...}` are no placeholders.
    return Template("".join(line for line in lines if not line.lstrip().startswith("#"))).substitute(values)


def endpoint_assignment(addresses: Sequence[str]) -> str:
    """An EDS file; JSON, which is YAML as well."""
    members = [{"endpoint": {"address": {"socket_address": _socket_address(address)}}} for address in addresses]
    assignment = {"@type": _ASSIGNMENT_TYPE, "cluster_name": "chat", "endpoints": [{"lb_endpoints": members}]}
    return json.dumps({"resources": [assignment]}, indent=1)


def _socket_address(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"address": host, "port_value": int(port)}


def _host_and_port(host: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    socket = host["address"]["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


def _is_healthy(health: Mapping[str, object]) -> bool:
    return not any(value is True for name, value in health.items() if name.startswith(("failed", "pending")))
