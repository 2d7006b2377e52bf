"""The layout of a stack: its folder, its ports, and the process specs derived from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from devstack.certificates import StackCertificates
from devstack.contract import descriptor_set
from devstack.envoy_config import EnvoyConfig
from devstack.issuer import Issuer, local_issuer
from devstack.managed_process import ProcessSpec
from devstack.ports import LOOPBACK, Ports
from devstack.s3 import S3Address, read_keys
from devstack.secret_files import SecretFiles, ensure_secret_files
from devstack.servers.envoy import envoy_spec
from devstack.servers.etcd import etcd_spec
from devstack.servers.mongod import mongo_uri, mongod_spec
from devstack.servers.seaweedfs import s3_address, seaweedfs_spec
from devstack.servers.service import (
    ServiceReplica,
    common_environment,
    push_environment,
    s3_environment,
    service_replica,
)
from devstack.servers.valkey import redis_url, valkey_spec
from devstack.services import OPTIONAL, Services, ServiceType
from devstack.tracing import Tracing


@dataclass(frozen=True, slots=True)
class StoreAddresses:
    """The addresses of the stores: a connection string, a URL, and `ip:port` (several are comma-separated).

    Without the address of an `s3` store the services that need one do not run.
    """

    mongo_uri: str
    redis_url: str
    etcd_endpoint: str
    s3: S3Address | None = None


class Layout:
    """The layout of a stack in `folder`, with data/, logs/, secrets/ and envoy/, each created when first needed.

    `services` is its table of services.
    `issuer` is an external issuer; without one the stack signs users in itself. `stores` are the addresses of external
    stores; without them the stack has its own. With `tls` clients and services speak TLS, with certificates in tls/.
    With `tracing` all processes that can record traces.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        services: Services,
        issuer: Issuer | None = None,
        stores: StoreAddresses | None = None,
        *,
        tracing: Tracing | None = None,
        tls: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.ports = ports
        self.services = services
        self._external = stores
        self.stores = stores or StoreAddresses(
            mongo_uri(ports.mongod), redis_url(ports.valkey), f"{LOOPBACK}:{ports.etcd}"
        )
        self._issuer = issuer
        self._tracing = tracing
        self._tls = tls

    @cached_property
    def secrets(self) -> SecretFiles:
        """The secrets, which are kept across restarts."""
        return ensure_secret_files(self.folder / "secrets")

    @cached_property
    def certificates(self) -> StackCertificates | None:
        """The certificates, issued anew for this run; None without TLS."""
        return StackCertificates(self.folder / "tls", [each.name for each in self.services]) if self._tls else None

    @cached_property
    def s3(self) -> S3Address | None:
        """The S3 store; None if the stores are external ones without it."""
        if self._external is not None:
            return self._external.s3
        return s3_address(self.ports.seaweedfs[0], read_keys(self.secrets.s3_identities))

    @property
    def media_origin(self) -> str:
        """The origin of presigned addresses, which Envoy leads to the S3 store."""
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self.ports.media}"

    @property
    def issuer(self) -> Issuer:
        """The issuer of the tokens that the stack accepts."""
        return self._issuer or local_issuer(self.secrets.jwks)

    @cached_property
    def envoy(self) -> EnvoyConfig:
        """The configuration of Envoy."""
        log = self.log_path("envoy-failed-calls")
        return EnvoyConfig(
            self.folder / "envoy",
            self.ports,
            self.services,
            self.issuer,
            self.s3,
            log,
            self.certificates,
            self._tracing,
        )

    @cached_property
    def reflection_file(self) -> Path:
        """The descriptors of the public services, which every service lists by reflection."""
        path = self.folder / "reflection.binpb"
        services = [each for service in self.services for each in service.contract]
        path.write_bytes(descriptor_set(services).SerializeToString(deterministic=True))
        return path

    @property
    def recorded_pushes(self) -> Path:
        """The file to which pushes are recorded, a JSON object a line: a stack sends none. Its folder is created."""
        path = self.folder / "data" / "notify" / "pushes.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log_path(self, name: str) -> Path:
        """Return the path of the log of a process; its folder is created."""
        folder = self.folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def process_spec(self, name: str) -> ProcessSpec:
        """Return the spec of mongod, valkey, etcd, seaweedfs or envoy. Raise ValueError for another name."""
        data, log, ports = self.folder / "data" / name, self.log_path(name), self.ports
        match name:
            case "mongod":
                return mongod_spec(data, log, ports.mongod)
            case "valkey":
                return valkey_spec(data, log, ports.valkey)
            case "etcd":
                return etcd_spec(data, log, ports.etcd, ports.etcd_peer)
            case "seaweedfs":
                return seaweedfs_spec(data, log, ports.seaweedfs, self.secrets.s3_identities)
            case "envoy":
                return envoy_spec(self.envoy, log, ports, serves_media=self.s3 is not None)
        raise ValueError(f"unknown process: {name}")

    def replica(self, service: ServiceType, number: int, environment: Mapping[str, str]) -> ServiceReplica:
        """Return replica `number`, from 1; `environment` overrides the settings that all services have in common."""
        common = common_environment(
            self.secrets,
            self.issuer,
            sign_in_here=self._issuer is None,
            mongo_uri=self.stores.mongo_uri,
            redis_url=self.stores.redis_url,
            etcd_endpoint=self.stores.etcd_endpoint,
        )
        ports = self.ports.replica(self.services, service, number)
        log = self.log_path(f"{service.name}-{number}")
        files = {"PARLEY_REFLECTION_FILE": str(self.reflection_file)}
        served = {each.name for each in self.services}
        files |= {f"PARLEY_{name.upper()}_SERVICE": "false" for name in OPTIONAL if name not in served}
        if service.signs_users_in and self._issuer is None:
            files["PARLEY_SIGNING_KEY_FILE"] = str(self.secrets.signing_key)
        if service.sends_pushes:
            files |= push_environment(self.recorded_pushes, self.secrets)
        s3 = s3_environment(self.s3, self.media_origin) if service.uses_s3 and self.s3 is not None else {}
        tls = self.certificates.environment(service.name) if self.certificates is not None else {}
        traces = self._tracing.environment if self._tracing is not None else {}
        settings = {**common, **files, **s3, **tls, **traces, **environment}
        return service_replica(service, number, ports, log, settings, self.certificates)
