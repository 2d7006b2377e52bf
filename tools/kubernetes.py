"""Writes the files of k8s/ that follow from the contract: Envoy's configuration, and the descriptors for reflection."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from devstack.contract import descriptor_set
from devstack.envoy_secrets import render_secrets
from devstack.envoy_template import render_configuration
from devstack.services import SERVICES

BASE: Final = Path(__file__).resolve().parent.parent / "k8s" / "base"
TLS: Final = BASE.parent / "components" / "tls"
TRACING: Final = BASE.parent / "components" / "tracing"
TRUST_DOMAIN: Final = "parley"
# The folders of Envoy's certificates in its pod: for clients, and for the services.
DOOR_FOLDER: Final = Path("/etc/parley/door")
GATEWAY_FOLDER: Final = Path("/etc/parley/gateway")
DOOR_PORT: Final = 8080
MEDIA_PORT: Final = 8081
ADMIN_PORT: Final = 9901
METRICS_PORT: Final = 9902
LIFECYCLE_PORT: Final = 9903
# The Service `s3` leads to the S3 store.
S3_PORT: Final = 8333
S3_BUCKET: Final = "media"
# The proxies in front of Envoy that append to x-forwarded-for, such as a load balancer that ends TLS.
TRUSTED_HOPS: Final = 0
# For 2 GiB of memory, the limit in the manifest. The rest is for stacks, for the kernel's share of sockets, and for
# what Envoy allocates until it looks at its heap again. With TLS a connection takes 95 KiB (docs/capacity.md), so that
# these take 78 % of the heap.
ENVOY_MAX_HEAP_BYTES: Final = 1792 << 20
ENVOY_MAX_CONNECTIONS: Final = 15_000
# Seconds from the beginning of the drain of an Envoy to its end.
ENVOY_DRAIN_S: Final = 30
# The ports for clients, as in the manifests; the others follow from them.
PORTS: Final = {"chat": 5101, "media": 5201, "presence": 5301, "notify": 5401}
VALUES: Final = {
    "DOOR_ADDRESS": "0.0.0.0",
    "DOOR_PORT": DOOR_PORT,
    "MEDIA_ADDRESS": "0.0.0.0",
    "MEDIA_PORT": MEDIA_PORT,
    "S3_HOST": "s3",
    "S3_PORT": S3_PORT,
    "S3_BUCKET": S3_BUCKET,
    "TRUSTED_HOPS": TRUSTED_HOPS,
    "MAX_CONNECTIONS": ENVOY_MAX_CONNECTIONS,
    "MAX_HEAP_BYTES": ENVOY_MAX_HEAP_BYTES,
    "ADMIN_PORT": ADMIN_PORT,
    "METRICS_PORT": METRICS_PORT,
    "LIFECYCLE_PORT": LIFECYCLE_PORT,
    "DRAIN_SECONDS": ENVOY_DRAIN_S,
    "ISSUER": "parley",
    "AUDIENCE": "parley",
    "JWKS_FILE": "/etc/parley/keys/jwks.json",
    "ENDPOINTS_FOLDER": "",
    "ACCESS_LOG": "/dev/stdout",
}
TLS_VALUES: Final = {"SECRETS_FOLDER": "/etc/envoy", "TRUST_DOMAIN": TRUST_DOMAIN}
# The collector of traces, and the share of calls that is traced: the default of `PARLEY_TRACE_RATIO`.
TRACING_VALUES: Final = {"OTLP_HOST": "collector.observability", "OTLP_PORT": 4318, "TRACE_PERCENT": 1}


def envoy_configuration(*, tls: bool = False, traces: bool = False) -> str:
    """Return the configuration of Envoy in a cluster, as YAML."""
    values = {**VALUES, **(TLS_VALUES if tls else {}), **(TRACING_VALUES if traces else {})}
    names = {name: (name, port) for name, port in PORTS.items()}
    return render_configuration(values, SERVICES, tls=tls, traces=traces, names=names)


def envoy_files_with_tls() -> dict[str, str]:
    """Return the configuration of Envoy with TLS, and the files that name its certificates, by file name."""
    return {"envoy.yaml": envoy_configuration(tls=True), **render_secrets(DOOR_FOLDER, GATEWAY_FOLDER)}


def envoy_files_with_traces() -> dict[str, str]:
    """Return the configurations of Envoy with traces, without and with TLS, by file name."""
    return {f"traced{'-tls' * tls}.yaml": envoy_configuration(tls=tls, traces=True) for tls in (False, True)}


def contract() -> bytes:
    """Return the descriptors of the public services, which every service lists by reflection."""
    services = [each for service in SERVICES for each in service.contract]
    return descriptor_set(services).SerializeToString(deterministic=True)


if __name__ == "__main__":
    base = {"envoy.yaml": envoy_configuration()}
    for folder, texts in ((BASE, base), (TLS, envoy_files_with_tls()), (TRACING, envoy_files_with_traces())):
        (folder / "envoy").mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / "envoy" / name).write_text(text)
    (BASE / "contract.binpb").write_bytes(contract())
