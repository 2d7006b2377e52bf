"""The replicas of the services of a stack."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import grpc
from grpc_health.v1 import health_pb2

from devstack.certificates import AUTHORITIES, CERTIFICATE, KEY, TRUST_DOMAIN, StackCertificates
from devstack.issuer import Issuer
from devstack.managed_process import ManagedProcess, Probe, ProcessSpec
from devstack.ports import LOOPBACK, ReplicaPorts
from devstack.s3 import BUCKET, REGION, S3Address
from devstack.secret_files import SecretFiles
from devstack.services import ServiceType
from servicekit.certificates import Identity
from servicekit.transport import GATEWAY

# A server ends within this time after its drain: it commits what it has accepted, leaves the ring, and stops its two
# ports. docs/operations.md and the grace of the manifests have it, too.
AFTER_DRAIN_S: Final = 15.0


class ServiceReplica(ManagedProcess):
    """One process of a service, with its internal and metrics addresses."""

    def __init__(self, spec: ProcessSpec, number: int, description: str) -> None:
        super().__init__(spec)
        self.number = number
        self.description = description

    @property
    def internal_address(self) -> str:
        """The address that other services call, as `ip:port`."""
        return self.spec.environment["PARLEY_INTERNAL_LISTEN"]

    @property
    def metrics_address(self) -> str:
        """The address that Prometheus scrapes, as `ip:port`."""
        return self.spec.environment["PARLEY_METRICS_LISTEN"]


def service_replica(
    service: ServiceType,
    number: int,
    ports: ReplicaPorts,
    log: Path,
    environment: Mapping[str, str],
    certificates: StackCertificates | None = None,
) -> ServiceReplica:
    """Return replica `number`, from 1. `environment` has the common settings, and this replica's overrides.

    With `certificates` its health is checked over TLS.
    """
    address = f"{LOOPBACK}:{ports.public}"
    addresses = {
        "PARLEY_LISTEN": address,
        "PARLEY_INTERNAL_LISTEN": f"{LOOPBACK}:{ports.internal}",
        "PARLEY_METRICS_LISTEN": f"{LOOPBACK}:{ports.metrics}",
    }
    spec = ProcessSpec(
        f"{service.name}-{number}",
        (sys.executable, "-m", service.module),
        log,
        grpc_health_probe(address, service.name, certificates),
        address,
        (ports.public, ports.internal, ports.metrics),
        {**addresses, **environment},
        float(environment["PARLEY_DRAIN_SECONDS"]) + AFTER_DRAIN_S,
    )
    return ServiceReplica(spec, number, service.description)


def common_environment(
    secrets: SecretFiles, issuer: Issuer, *, sign_in_here: bool, mongo_uri: str, redis_url: str, etcd_endpoint: str
) -> dict[str, str]:
    """Return the settings that all services of a stack share."""
    return {
        **issuer.environment,
        "PARLEY_SIGN_IN_HERE": str(sign_in_here).lower(),
        "PARLEY_MONGO_URI": mongo_uri,
        "PARLEY_MONGO_DATABASE": "parley",
        "PARLEY_REDIS_URL": redis_url,
        "PARLEY_ETCD_ENDPOINTS": etcd_endpoint,
        "PARLEY_SERVICE_CREDENTIAL_FILE": str(secrets.credential),
        "PARLEY_LOG_FORMAT": "console",
        "PARLEY_LOG_LEVEL": "info",
        # A system on one machine has few streams to move, and whoever stops it waits for the drain.
        "PARLEY_DRAIN_SECONDS": "1",
    }


def s3_environment(address: S3Address, public_url: str) -> dict[str, str]:
    """Return the settings of a service that uses S3. Clients reach the store at `public_url`, an origin."""
    return {
        "PARLEY_S3_URL": address.url,
        "PARLEY_S3_PUBLIC_URL": public_url,
        "PARLEY_S3_BUCKET": BUCKET,
        "PARLEY_S3_REGION": REGION,
        "PARLEY_S3_ACCESS_KEY": address.keys.access_key,
        "PARLEY_S3_SECRET_KEY": address.keys.secret_key,
    }


def push_environment(recorded_pushes: Path, secrets: SecretFiles) -> dict[str, str]:
    """Return the settings of a service that sends pushes: it records them, and browsers can subscribe."""
    return {
        "PARLEY_PUSH_RECORDING_FILE": str(recorded_pushes),
        "PARLEY_VAPID_KEY_FILE": str(secrets.vapid_key),
        "PARLEY_VAPID_SUBJECT": "mailto:operator@parley.invalid",
    }


def grpc_health_probe(address: str, service: str, certificates: StackCertificates | None) -> Probe:
    """Return a probe of the health of a server of `service`; if there are certificates, it calls with Envoy's."""
    options = (
        ("grpc.enable_http_proxy", 0),
        # A new connection for each probe: a shared one would back off for a second or more between its attempts.
        ("grpc.use_local_subchannel_pool", 1),
    )

    def open_channel() -> grpc.Channel:
        if certificates is None:
            return grpc.insecure_channel(address, options)
        folder = certificates.folder_of(GATEWAY)
        pems = [(folder / name).read_bytes() for name in (AUTHORITIES, KEY, CERTIFICATE)]
        host = ("grpc.ssl_target_name_override", Identity(TRUST_DOMAIN, service).dns_name)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(*pems), (*options, host))

    def probe() -> str | None:
        with open_channel() as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                response = check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError as error:
                return str(cast("grpc.Call", error).details())
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return None if status == "SERVING" else f"its health status is {status}"

    return probe
