"""The preparation of a cluster for development: secrets through its API, and the replica set of a real MongoDB."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError

import pytest

from devstack.managed_process import ManagedProcess
from devstack.ports import PortBlock
from devstack.preparation import Cluster, create_secrets, initiate_replica_set, secrets_of, write_s3_environment
from devstack.s3 import read_keys
from devstack.secret_files import ensure_secret_files
from devstack.servers.mongod import mongod_spec
from tests.push_servers.authority import Authority


class Api(HTTPServer):
    """The part of the API of a cluster that creates secrets in the namespace `parley`."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(("localhost", 0), _Requests)
        context = authority.server_context(["http/1.1"])
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.secrets: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_port}"


class _Requests(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        secret = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = secret["metadata"]["name"]
        if self.headers["authorization"] != "Bearer of the pod" or self.path != "/api/v1/namespaces/parley/secrets":
            self.send_error(403)
        elif name in self.server.secrets:
            self.send_error(409)
        else:
            self.server.secrets[name] = {key: base64.b64decode(value) for key, value in secret["data"].items()}
            self.send_response(201)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def api(authority: Authority) -> Iterator[Api]:
    with Api(authority) as api:
        thread = Thread(target=api.serve_forever)
        thread.start()
        yield api
        api.shutdown()
        thread.join()


@pytest.fixture
def cluster(api: Api, authority: Authority, tmp_path: Path) -> Cluster:
    account = tmp_path / "account"
    account.mkdir()
    (account / "namespace").write_text("parley")
    (account / "token").write_text("of the pod")
    shutil.copy(authority.ca_file, account / "ca.crt")
    return Cluster(api.url, account)


def test_secret_is_created_once(api: Api, cluster: Cluster) -> None:
    assert cluster.create_secret("parley-keys", {"jwks.json": b"{}"})
    assert not cluster.create_secret("parley-keys", {"jwks.json": b"other"})
    assert api.secrets == {"parley-keys": {"jwks.json": b"{}"}}


def test_signing_key_is_created_only_with_its_public_half(api: Api, cluster: Cluster, tmp_path: Path) -> None:
    first = ensure_secret_files(tmp_path / "first")
    create_secrets(cluster, first)
    assert api.secrets == secrets_of(first)
    del api.secrets["parley-signing-key"]
    create_secrets(cluster, ensure_secret_files(tmp_path / "second"))
    assert "parley-signing-key" not in api.secrets
    del api.secrets["parley-keys"]
    third = ensure_secret_files(tmp_path / "third")
    create_secrets(cluster, third)
    assert api.secrets["parley-signing-key"] == secrets_of(third)["parley-signing-key"]
    assert api.secrets["parley-keys"] == secrets_of(third)["parley-keys"]


def test_refused_secret_fails_the_preparation(cluster: Cluster) -> None:
    (cluster.account / "token").write_text("of another pod")
    with pytest.raises(HTTPError, match="403"):
        cluster.create_secret("parley-keys", {})


def test_keys_of_the_s3_store_are_variables_for_a_shell(tmp_path: Path) -> None:
    files = ensure_secret_files(tmp_path)
    keys = read_keys(files.s3_identities)
    file = write_s3_environment(files)
    assert file.read_text().splitlines() == [
        f"PARLEY_S3_ACCESS_KEY={keys.access_key}",
        f"PARLEY_S3_SECRET_KEY={keys.secret_key}",
    ]
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.integration
def test_replica_set_is_initiated_once(tmp_path: Path) -> None:
    block = PortBlock()
    mongod = ManagedProcess(mongod_spec(tmp_path / "data", tmp_path / "mongod.log", block.ports.mongod))
    mongod.start()
    try:
        assert initiate_replica_set(mongod.address)
        assert not initiate_replica_set(mongod.address)
    finally:
        mongod.kill()
        block.release()
