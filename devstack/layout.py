"""Where everything of one stack is: its folder, its ports, and the recipes that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from devstack.envoy_config import Door
from devstack.issuer import Issuer, own_issuer
from devstack.managed_process import Recipe
from devstack.ports import LOOPBACK, Ports
from devstack.secret_files import SecretFiles, secret_files
from devstack.servers.chat import ChatServer, chat_environment, chat_server
from devstack.servers.envoy import envoy
from devstack.servers.etcd import etcd
from devstack.servers.mongod import mongo_uri, mongod
from devstack.servers.valkey import redis_url, valkey


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
        return secret_files(self.folder / "secrets")

    @property
    def issuer(self) -> Issuer:
        """Whose tokens are good here."""
        return self._issuer or own_issuer(self.secrets.jwks)

    @cached_property
    def door(self) -> Door:
        """Envoy's files."""
        return Door(self.folder / "envoy", self.ports, self.issuer, self.log("envoy-failed-calls"))

    def log(self, name: str) -> Path:
        """The log of a part."""
        folder = self.folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def recipe(self, name: str) -> Recipe:
        """That of mongod, valkey, etcd or envoy. Raises ValueError for another name."""
        data, log, ports = self.folder / "data" / name, self.log(name), self.ports
        match name:
            case "mongod":
                return mongod(data, log, ports.mongod)
            case "valkey":
                return valkey(data, log, ports.valkey)
            case "etcd":
                return etcd(data, log, ports.etcd, ports.etcd_peer)
            case "envoy":
                return envoy(self.door, log, ports)
        raise ValueError(f"no part is called {name}")

    def chat_server(self, number: int, environment: Mapping[str, str]) -> ChatServer:
        """Chat server `number`, from 1; `environment` comes after what all are told."""
        told = chat_environment(
            self.secrets,
            self.issuer,
            sign_in_here=self._issuer is None,
            mongo_uri=self.stores.mongo_uri,
            redis_url=self.stores.redis_url,
            etcd_endpoint=self.stores.etcd_endpoint,
        )
        return chat_server(number, self.ports, self.log(f"chat-{number}"), {**told, **environment})
