"""SeaweedFS, an S3 store: all its parts in one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minio import Minio
from minio.error import MinioException
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from devstack.binaries import server_binary
from devstack.managed_process import Probe, ProcessSpec
from devstack.ports import LOOPBACK
from devstack.s3 import BUCKET, REGION, S3Address, S3Keys, read_keys

# The parts, in the order of their ports: each has one for HTTP, then one for gRPC.
_PARTS: Final = ("s3", "filer", "master", "volume", "admin")

_ENVIRONMENT: Final = {
    # With the defaults of Go its memory grows to several times of what it uses. It uses 110 MiB when idle; near the
    # limit the garbage collector would run all the time.
    "GOGC": "50",
    "GOMEMLIMIT": "384MiB",
    # These of the user's would add an identity with all rights, other buckets, and another host in signatures.
    **dict.fromkeys(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_BUCKET", "S3_TABLE_BUCKET", "S3_EXTERNAL_URL"), ""
    ),
}


def seaweedfs_spec(
    folder: Path, log: Path, ports: Sequence[int], identities: Path, *, name: str = "seaweedfs"
) -> ProcessSpec:
    """Return the spec of a SeaweedFS with its data in `folder`, the bucket `media`, and the identities of a file.

    It listens on ten `ports`, the first of which is that of S3. Nothing is preallocated on the disk. It does not sync
    to the disk: what it acknowledged survives a crash of the process, not one of the machine.
    """
    # Some of its files can be read by everyone, whatever the umask.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    s3, filer, master = ports[0], ports[2], ports[4]
    command = (
        *(str(server_binary("weed")), "-logtostderr=true", "mini", f"-dir={folder}"),
        *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", *_port_options(ports)),
        *(f"-s3.config={identities}", f"-bucket={BUCKET}"),
        # A part that is started has ports of its own, and no part may report to anyone.
        *("-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        # A file on the disk for each 64 MiB, so that the space of deleted objects is soon reclaimed.
        "-master.volumeSizeLimitMB=64",
        # It has no other servers that it would have to warn when it stops. Its parts would wait half a minute for idle
        # connections among themselves.
        *("-volume.preStopSeconds=0", "-idleTimeout=2"),
        # Sockets without a file: those in /tmp would outlive it.
        *(f"-s3.localSocket=@seaweedfs-s3-{s3}", f"-filer.localSocket=@seaweedfs-filer-{filer}"),
    )
    address = s3_address(s3, read_keys(identities))
    # The user's home may have a security.toml.
    environment = {**_ENVIRONMENT, "HOME": str(folder)}
    probe = _probe(address, f"{LOOPBACK}:{filer}", f"{LOOPBACK}:{master}")
    return ProcessSpec(name, command, log, probe, address.endpoint, tuple(ports), environment)


def s3_address(port: int, keys: S3Keys) -> S3Address:
    """Return the address of a SeaweedFS whose S3 is on `port`."""
    return S3Address(f"http://{LOOPBACK}:{port}", keys)


def _port_options(ports: Sequence[int]) -> list[str]:
    options = [f"-{part}.port{protocol}" for part in _PARTS for protocol in ("", ".grpc")]
    return [f"{option}={port}" for option, port in zip(options, ports, strict=True)]


def _probe(address: S3Address, filer: str, master: str) -> Probe:
    def probe() -> str | None:
        keys = address.keys
        with PoolManager(timeout=2.0, retries=False) as pool:
            client = Minio(
                address.endpoint,
                access_key=keys.access_key,
                secret_key=keys.secret_key,
                region=REGION,
                secure=False,
                http_client=pool,
            )
            try:
                # A signed request: it shows the bucket, and that the identity may use it.
                if not client.bucket_exists(BUCKET):
                    return f"it has no bucket {BUCKET} yet"
                # It answers such requests seconds before it can read and write. A write that comes too early is tried
                # again by the store for up to 20 s, so the volumes must be known first.
                if not pool.request("GET", f"http://{master}/dir/status").json()["Topology"]["DataCenters"]:
                    return "its volumes are not registered yet"
                # Outside of the buckets, because a write that timed out may come true later.
                written = pool.request("PUT", f"http://{filer}/health/probe", body=b"probe")
                return None if written.status < 300 else f"it cannot write yet: status {written.status}"
            except (MinioException, HTTPError, ValueError) as error:
                return str(error)

    return probe
