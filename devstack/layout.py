"""Where everything of one stack is: its folder, its ports, and the recipes that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from devstack.envoy_config import EnvoyConfig
from devstack.issuer import Issuer, local_issuer
from devstack.managed_process import ProcessSpec
from devstack.ports import LOOPBACK, Ports
from devstack.secret_files import SecretFiles, ensure_secret_files
from devstack.servers.chat import ChatServer, common_environment, chat_server
from devstack.servers.envoy import envoy_spec
from devstack.servers.etcd import etcd_spec
from devstack.servers.mongod import mongo_uri, mongod_spec
from devstack.servers.valkey import redis_url, valkey_spec


@dataclass(frozen=True, slots=True)
class StoreAddresses:
    """Where the stores are: a connection string, a URL, and `ip:port` (several, with commas between)."""

    mongo_uri: str
    redis_url: str
    etcd_endpoint: str


class Layout:
    """`folder` holds data/, logs/, secrets/ and envoy/, each made when first needed.

    `issuer` signs the users in; without one, the stack does so itself. `stores` are elsewhere; without, they are here.
    """

    def __init__(
        self, folder: Path, ports: Ports, issuer: Issuer | None = None, stores: StoreAddresses | None = None
    ) -> None:
        self.folder = folder.resolve()
        self.ports = ports
        self.stores = stores or StoreAddresses(
            mongo_uri(ports.mongod), redis_url(ports.valkey), f"{LOOPBACK}:{ports.etcd}"
        )
        self._issuer = issuer

    @cached_property
    def secrets(self) -> SecretFiles:
        """The secrets, kept from one start to the next."""
        return ensure_secret_files(self.folder / "secrets")

    @property
    def issuer(self) -> Issuer:
        """Whose tokens are good here."""
        return self._issuer or local_issuer(self.secrets.jwks)

    @cached_property
    def envoy(self) -> EnvoyConfig:
        """Envoy's files."""
        return EnvoyConfig(self.folder / "envoy", self.ports, self.issuer, self.log_path("envoy-failed-calls"))

    def log_path(self, name: str) -> Path:
        """The log of a part."""
        folder = self.folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def process_spec(self, name: str) -> ProcessSpec:
        """That of mongod, valkey, etcd or envoy. Raises ValueError for another name."""
        data, log, ports = self.folder / "data" / name, self.log_path(name), self.ports
        match name:
            case "mongod":
                return mongod_spec(data, log, ports.mongod)
            case "valkey":
                return valkey_spec(data, log, ports.valkey)
            case "etcd":
                return etcd_spec(data, log, ports.etcd, ports.etcd_peer)
            case "envoy":
                return envoy_spec(self.envoy, log, ports)
        raise ValueError(f"no part is called {name}")

    def chat_server(self, number: int, environment: Mapping[str, str]) -> ChatServer:
        """Chat server `number`, from 1; `environment` comes after what all are told."""
        told = common_environment(
            self.secrets,
            self.issuer,
            sign_in_here=self._issuer is None,
            mongo_uri=self.stores.mongo_uri,
            redis_url=self.stores.redis_url,
            etcd_endpoint=self.stores.etcd_endpoint,
        )
        return chat_server(number, self.ports, self.log_path(f"chat-{number}"), {**told, **environment})
