"""The four stores with TLS from one authority, and with a user of least rights for each service."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from devstack.binaries import server_binary
from devstack.layout import StoreAddresses
from devstack.managed_process import ManagedProcess, Probe, ProcessSpec
from devstack.ports import LOOPBACK, PortBlock
from devstack.s3 import generate_identities, read_keys
from devstack.servers.etcd import etcd_spec
from devstack.servers.mongod import mongod_spec
from devstack.servers.seaweedfs import s3_address, seaweedfs_spec
from tests.push_servers.authority import Authority

SERVICES: Final = ("chat", "media", "presence", "notify")
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "stores.md"
_ROOT_PASSWORD: Final = "password-of-root"


class SecuredStores:
    """Running stores that refuse connections without TLS, and users with other passwords than `password-of-<user>`."""

    def __init__(self, folder: Path, authority: Authority, block: PortBlock) -> None:
        self.authority = authority
        self._folder = folder
        self._ports = block.ports
        identities = folder / "s3.json"
        identities.write_bytes(generate_identities())
        self.s3_keys = read_keys(identities)
        self.certificate, self.key = self._split_server_file()
        self.processes = {
            spec.name: ManagedProcess(spec)
            for spec in (self._mongod(), self._redis(), self._etcd(), self._seaweedfs(identities))
        }

    def start(self) -> None:
        """Start all, and create the users."""
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            process.wait_healthy()
        self._create_mongo_users()
        self._create_etcd_users()

    def stop(self) -> None:
        """Stop all."""
        for process in self.processes.values():
            process.request_stop()
        for process in self.processes.values():
            process.wait_exited(5)

    @property
    def addresses(self) -> StoreAddresses:
        """The addresses for the tests themselves: the administrator of MongoDB; and S3 without TLS, for Envoy."""
        s3 = s3_address(self._ports.seaweedfs[0], self.s3_keys)
        return StoreAddresses(self.mongo_uri("root"), self.redis_url("chat"), self.etcd_endpoint, s3)

    @property
    def etcd_endpoint(self) -> str:
        """The address of etcd, as `ip:port`."""
        return f"{LOOPBACK}:{self._ports.etcd}"

    def mongo_uri(self, user: str, password: str | None = None, authority: Path | None = None) -> str:
        """Return the connection string of a user."""
        options = f"replicaSet=rs0&authSource=admin&tls=true&tlsCAFile={authority or self.authority.ca_file}"
        return f"mongodb://{user}:{password or f'password-of-{user}'}@{LOOPBACK}:{self._ports.mongod}/?{options}"

    def redis_url(self, user: str, password: str | None = None, authority: Path | None = None) -> str:
        """Return the URL of a user."""
        files = f"ssl_ca_certs={authority or self.authority.ca_file}&ssl_certfile={self.certificate}"
        url = f"rediss://{user}:{password or f'password-of-{user}'}@{LOOPBACK}:{self._ports.valkey}/0"
        return f"{url}?{files}&ssl_keyfile={self.key}"

    def environment(self, service: str) -> dict[str, str]:
        """Return the settings of a service that differ from those of a stack without TLS."""
        user = service if service in SERVICES else "chat"
        return {
            "PARLEY_MONGO_URI": self.mongo_uri(user),
            "PARLEY_REDIS_URL": self.redis_url(user),
            "PARLEY_ETCD_CA_FILE": str(self.authority.ca_file),
            "PARLEY_ETCD_CERTIFICATE_FILE": str(self.certificate),
            "PARLEY_ETCD_KEY_FILE": str(self.key),
            "PARLEY_ETCD_USER": "parley",
            "PARLEY_ETCD_PASSWORD": "password-of-parley",
            "PARLEY_S3_URL": f"https://{LOOPBACK}:{self._ports.base}",
            "PARLEY_S3_CA_FILE": str(self.authority.ca_file),
        }

    def _split_server_file(self) -> tuple[Path, Path]:
        """Return files with the certificate and the key of `server_file`: some servers want them apart."""
        key, separator, certificate = self.authority.server_file.read_text().partition("-----BEGIN CERTIFICATE-----")
        files = self._folder / "certificate.pem", self._folder / "key.pem"
        for file, text in zip(files, (separator + certificate, key), strict=True):
            file.write_text(text)
        return files

    def _mongod(self) -> ProcessSpec:
        folder, port = self._folder / "mongod", self._ports.mongod
        spec = mongod_spec(folder, self._folder / "mongod.log", port)
        key_file = self._folder / "mongod.key"
        key_file.write_text(secrets.token_hex(64))
        key_file.chmod(0o600)
        tls = ("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(self.authority.server_file))
        trust = ("--tlsCAFile", str(self.authority.ca_file), "--tlsAllowConnectionsWithoutCertificates")
        command = (*spec.command, *tls, *trust, "--keyFile", str(key_file))
        return replace(spec, command=command, probe=self._mongod_probe())

    def _mongo_client(self, credentials: str = "") -> MongoClient[dict[str, Any]]:
        uri = f"mongodb://{credentials}{LOOPBACK}:{self._ports.mongod}/?directConnection=true"
        return MongoClient(uri, tls=True, tlsCAFile=str(self.authority.ca_file), serverSelectionTimeoutMS=500)

    def _mongod_probe(self) -> Probe:
        member = {"_id": 0, "host": f"{LOOPBACK}:{self._ports.mongod}"}

        def probe() -> str | None:
            with self._mongo_client() as client:
                try:
                    hello = client.admin.command("hello")
                    if not hello.get("setName"):
                        # Connections from this machine may do it as long as there are no users.
                        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
                except PyMongoError as error:
                    return str(error)
                return None if hello.get("isWritablePrimary") else "it has no primary yet"

        return probe

    def _create_mongo_users(self) -> None:
        actions, users = documented("ACTIONS"), dict(documented("OPERATORS"))
        rights = {"oplogReplay": [_privilege("", documented("REPLAYED"))]}
        for service, names in documented("COLLECTIONS").items():
            role = f"parley_{service}"
            rights[role], users[service] = [_privilege(name, actions) for name in names], [role]
        with self._mongo_client() as client:
            client.admin.command("createUser", "root", pwd=_ROOT_PASSWORD, roles=["root"])
        with self._mongo_client(f"root:{_ROOT_PASSWORD}@") as client:
            for role, privileges in rights.items():
                client.admin.command("createRole", role, privileges=privileges, roles=[])
            for user, roles in users.items():
                client.admin.command("createUser", user, pwd=f"password-of-{user}", roles=roles)

    def _redis(self) -> ProcessSpec:
        folder, port = self._folder / "redis", self._ports.valkey
        folder.mkdir()
        users = folder / "users.acl"
        users.write_text(code_block("acl") + "user root on >password-of-root ~* &* +@all\n")
        files = ("--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key))
        command = (
            *(str(shutil.which("redis-server")), "--bind", LOOPBACK, "--port", "0", "--tls-port", str(port)),
            *(*files, "--tls-ca-cert-file", str(self.authority.ca_file), "--tls-auth-clients", "yes"),
            *("--dir", str(folder), "--save", "", "--appendonly", "no", "--aclfile", str(users)),
        )
        return ProcessSpec("redis", command, self._folder / "redis.log", self._redis_probe(), f"{LOOPBACK}:{port}")

    def _redis_probe(self) -> Probe:
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        context.load_cert_chain(self.certificate, self.key)

        def probe() -> str | None:
            address = LOOPBACK, self._ports.valkey
            try:
                with context.wrap_socket(socket.create_connection(address, 2), server_hostname=LOOPBACK) as connection:
                    connection.sendall(b"PING\r\n")
                    return None if connection.recv(64).startswith(b"-NOAUTH") else "it requires no user"
            except OSError as error:
                return str(error)

        return probe

    def _etcd(self) -> ProcessSpec:
        spec = etcd_spec(self._folder / "etcd", self._folder / "etcd.log", self._ports.etcd, self._ports.etcd_peer)
        client = f"http://{LOOPBACK}:{self._ports.etcd}"
        files = ("--cert-file", str(self.certificate), "--key-file", str(self.key))
        trust = ("--client-cert-auth", "--trusted-ca-file", str(self.authority.ca_file))
        command = tuple(each.replace(client, client.replace("http", "https")) for each in spec.command)
        return replace(spec, command=(*command, *files, *trust), probe=self._etcd_probe())

    def _etcd_probe(self) -> Probe:
        def probe() -> str | None:
            done = self._run_etcdctl("endpoint", "health")
            return None if done.returncode == 0 else done.stderr

        return probe

    def _run_etcdctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        files = {"ETCDCTL_CACERT": self.authority.ca_file, "ETCDCTL_CERT": self.certificate, "ETCDCTL_KEY": self.key}
        environment = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": f"https://{self.etcd_endpoint}"}
        environment |= {name: str(path) for name, path in files.items()}
        program = str(server_binary("etcd").with_name("etcdctl"))
        return subprocess.run(
            [program, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )

    def _create_etcd_users(self) -> None:
        lines = [line.split()[1:] for line in code_block("sh").splitlines()]
        root = [["user", "add", f"root:{_ROOT_PASSWORD}"], ["user", "grant-role", "root", "root"], ["auth", "enable"]]
        for arguments in (*lines, *root):
            done = self._run_etcdctl(*arguments)
            assert done.returncode == 0, (arguments, done.stderr)

    def _seaweedfs(self, identities: Path) -> ProcessSpec:
        spec = seaweedfs_spec(
            self._folder / "seaweedfs", self._folder / "seaweedfs.log", self._ports.seaweedfs, identities
        )
        tls = (f"-s3.port.https={self._ports.base}", f"-s3.cert.file={self.certificate}", f"-s3.key.file={self.key}")
        return replace(spec, command=(*spec.command, *tls))


def _privilege(collection: str, actions: list[str]) -> dict[str, Any]:
    """Return the right to do this to a collection; without a name, to all of the database."""
    return {"resource": {"db": "parley", "collection": collection}, "actions": actions}


@contextmanager
def run_secured_stores(folder: Path) -> Iterator[SecuredStores]:
    """Yield running stores, and stop them."""
    block = PortBlock()
    stores = SecuredStores(folder, Authority(folder, ["127.0.0.1"]), block)
    try:
        stores.start()
        yield stores
    finally:
        stores.stop()
        block.release()


def documented(name: str) -> Any:
    """Return a constant of the script that creates the users of MongoDB: a list or an object."""
    found = re.search(rf"const {name} = (\[.*?\]|\{{.*?\}})\n", code_block("js"), re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def code_block(language: str) -> str:
    """Return the only code block of the document in a language."""
    [block] = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(block)
