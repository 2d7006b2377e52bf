"""The preparation of a system whose processes run in containers: its secrets, and a replica set for development.

`python -m devstack.preparation --help` shows the options. `make run` needs none of this.
"""

from __future__ import annotations

import argparse
import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from devstack.s3 import read_keys
from devstack.secret_files import SecretFiles, ensure_secret_files

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API: Final = "https://kubernetes.default.svc"
MONGODB_TIMEOUT_S: Final = 120.0
_ALREADY_EXISTS: Final = 409
_ALREADY_INITIALIZED: Final = 23


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API of the cluster that this pod runs in, at `url`, and the folder of the pod's service account."""

    url: str = API
    account: Path = ACCOUNT_FOLDER

    def create_secret(self, name: str, data: Mapping[str, bytes]) -> bool:
        """Create a secret in the namespace of the pod. Return False if it exists; raise HTTPError if it is refused."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        namespace = (self.account / "namespace").read_text()
        token = (self.account / "token").read_text()
        request = urllib.request.Request(
            f"{self.url}/api/v1/namespaces/{namespace}/secrets",
            json.dumps(secret).encode(),
            {"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        context = ssl.create_default_context(cafile=self.account / "ca.crt")
        try:
            with urllib.request.urlopen(request, timeout=30, context=context):
                return True
        except urllib.error.HTTPError as error:
            if error.code != _ALREADY_EXISTS:
                raise
            return False


def secrets_of(files: SecretFiles) -> dict[str, dict[str, bytes]]:
    """Return the secrets that the manifests refer to: the content of each key by its name, by the secret's name."""
    keys = read_keys(files.s3_identities)
    return {
        "parley-keys": {
            "jwks.json": files.jwks.read_bytes(),
            "service-credential": files.credential.read_bytes(),
        },
        "parley-signing-key": {"signing-key.pem": files.signing_key.read_bytes()},
        "parley-push-keys": {"vapid-key.pem": files.vapid_key.read_bytes()},
        "parley-s3": {
            "access-key": keys.access_key.encode(),
            "secret-key": keys.secret_key.encode(),
            "s3.json": files.s3_identities.read_bytes(),
        },
    }


def create_secrets(cluster: Cluster, files: SecretFiles) -> None:
    """Create the missing secrets in a cluster. The signing key is made only together with its public half.

    If it is missing while `parley-keys` exists, chat does not start: delete `parley-keys`, and run this again.
    """
    secrets = secrets_of(files)
    signing_key = secrets.pop("parley-signing-key")
    created = {name: cluster.create_secret(name, data) for name, data in secrets.items()}
    if created["parley-keys"]:
        created["parley-signing-key"] = cluster.create_secret("parley-signing-key", signing_key)
    for name, new in created.items():
        print(f"secret {name} {'created' if new else 'exists'}")


def write_s3_environment(files: SecretFiles) -> Path:
    """Write the keys of the S3 store as variables for a shell, beside the other secrets. Return the file."""
    keys = read_keys(files.s3_identities)
    file = files.s3_identities.with_name("s3.env")
    file.touch(mode=0o600)
    file.write_text(f"PARLEY_S3_ACCESS_KEY={keys.access_key}\nPARLEY_S3_SECRET_KEY={keys.secret_key}\n")
    return file


def initiate_replica_set(address: str, timeout: float = MONGODB_TIMEOUT_S) -> bool:
    """Initiate the replica set `rs0` with the one member at `address` (`host:port`), once MongoDB answers.

    Return False if it is initiated already. Raise PyMongoError if MongoDB does not answer within `timeout` seconds.
    """
    members = {"_id": "rs0", "members": [{"_id": 0, "host": address}]}
    client: MongoClient[dict[str, Any]] = MongoClient(
        f"mongodb://{address}/?directConnection=true", serverSelectionTimeoutMS=int(timeout * 1000)
    )
    with client:
        try:
            client.admin.command("replSetInitiate", members)
        except OperationFailure as failure:
            if failure.code != _ALREADY_INITIALIZED:
                raise
            return False
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the secrets that are missing, then initiate the replica set if its address is given."""
    parser = argparse.ArgumentParser(prog="python -m devstack.preparation", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="the folder of the secrets, made if it is missing")
    parser.add_argument("--mongodb", metavar="HOST:PORT", help="initiate its replica set, with it alone")
    parser.add_argument("--cluster", action="store_true", help="also create the secrets in the cluster of this pod")
    options = parser.parse_args(arguments)
    files = ensure_secret_files(options.folder)
    write_s3_environment(files)
    if options.cluster:
        create_secrets(Cluster(), files)
    if options.mongodb:
        print(f"replica set {'initiated' if initiate_replica_set(options.mongodb) else 'exists'}")


if __name__ == "__main__":
    main()
