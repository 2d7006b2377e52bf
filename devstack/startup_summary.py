"""The text that `make run` prints once the stack is healthy: the addresses, and commands to try."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from devstack.managed_process import ManagedProcess
from devstack.options import DEFAULT_BASE_PORT, DEFAULT_DOOR, DEFAULT_MEDIA_PORT
from devstack.ports import LOOPBACK, Ports
from devstack.servers.service import ServiceReplica
from devstack.stack import Stack
from servicekit.transport import OPERATOR

# Where `parley admin` looks for the credential of the services.
DEFAULT_CREDENTIAL = ".parley/secrets/service-credential"
_DESCRIPTIONS = {
    "mongod": "MongoDB: the conversation logs and accounts",
    "valkey": "Valkey: the change index",
    "etcd": "etcd: the members of the ring",
    "seaweedfs": "SeaweedFS: the files, an S3 store",
    "envoy": "Envoy: the gateway, gRPC and grpc-web",
}


def startup_summary(stack: Stack) -> str:
    """Return the summary of a running stack, several lines."""
    processes = stack.processes.values()
    width = max((len(process.name) for process in processes), default=0)
    rows = [f"  {process.name:<{width}}  {process.address:<15}  {_describe(process)}" for process in processes]
    return "\n".join(
        (
            f"Parley is up at {stack.door}, presigned addresses of files at {stack.media_origin}.",
            *rows,
            *_tls_lines(stack),
            "Try, in another terminal:",
            *(f"  {line}" for line in _commands_to_try(stack)),
            f"Logs are in {_shortest_path(stack.layout.folder / 'logs')}, "
            f"data and secrets in {_shortest_path(stack.layout.folder)}. Ctrl-C stops everything.",
        )
    )


def _tls_lines(stack: Stack) -> list[str]:
    if stack.ca_file is None:
        return []
    folder = _shortest_path(stack.ca_file.parent)
    return [f"Clients trust {folder}/{stack.ca_file.name}; the services have certificates of their own in {folder}."]


def _describe(process: ManagedProcess) -> str:
    if isinstance(process, ServiceReplica):
        return f"{process.description}; metrics at http://{process.metrics_address}/metrics"
    return _DESCRIPTIONS[process.name]


def _commands_to_try(stack: Stack) -> list[str]:
    ca_file = _shortest_path(stack.ca_file) if stack.ca_file is not None else None
    if not stack.chat_servers:
        url = f"http://{stack.door}/" if ca_file is None else f"--cacert {ca_file} https://{stack.door}/"
        return [f"curl -i {url}   (there are no chat servers: Envoy answers 401 without a token)"]
    bin_folder = _shortest_path(Path(sys.prefix, "bin"))
    door = "" if stack.layout.ports.door == DEFAULT_DOOR else f" --door {stack.door}"
    door += f" --ca {ca_file}" if ca_file is not None else ""
    security = f"-cacert {ca_file}" if ca_file is not None else "-plaintext"
    return [
        f"{bin_folder}/parley demo{door}",
        f"{bin_folder}/parley register alice{door}",
        f"{bin_folder}/parley register bob{door}",
        f"{bin_folder}/parley chat bob --as alice{door}",
        f"{bin_folder}/grpcurl {security} {stack.door} list",
        f"{_admin_certificates(stack)}{bin_folder}/parley admin servers{_admin_options(stack)}",
    ]


def _admin_certificates(stack: Stack) -> str:
    """Return the variables with which `parley admin` presents its certificate; none without TLS."""
    if (certificates := stack.layout.certificates) is None:
        return ""
    files = certificates.environment(OPERATOR)
    names = ("PARLEY_TLS_CERTIFICATE_FILE", "PARLEY_TLS_KEY_FILE", "PARLEY_TLS_CA_FILE")
    return "".join(f"{name}={_shortest_path(Path(files[name]))} " for name in names)


def _admin_options(stack: Stack) -> str:
    """Return the options with which `parley admin` finds this stack; none if they are the default."""
    default = Ports(DEFAULT_DOOR, DEFAULT_MEDIA_PORT, DEFAULT_BASE_PORT)
    etcd = "" if stack.etcd_endpoint == f"{LOOPBACK}:{default.etcd}" else f" --etcd {stack.etcd_endpoint}"
    credential = _shortest_path(stack.layout.secrets.credential)
    return etcd + ("" if credential == DEFAULT_CREDENTIAL else f" --credential {credential}")


def _shortest_path(path: Path) -> str:
    """Return `path` relative to the current folder if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
