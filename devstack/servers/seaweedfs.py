"""SeaweedFS, an S3 store: all its parts in one process."""

from __future__ import annotations

import io
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

_PROBE_KEY: Final = "health-probe"
# A write waits up to 20 s for a volume that was not ready when it came; the next attempt finds it.
_PROBE_TIMEOUT_S: Final = 2.0

_ENVIRONMENT: Final = {
    # With the defaults of Go its memory grows to several times of what it uses.
    "GOGC": "50",
    "GOMEMLIMIT": "192MiB",
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
    s3, filer = ports[0], ports[2]
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
    return ProcessSpec(name, command, log, _probe(address), address.endpoint, tuple(ports), environment)


def s3_address(port: int, keys: S3Keys) -> S3Address:
    """Return the address of a SeaweedFS whose S3 is on `port`."""
    return S3Address(f"http://{LOOPBACK}:{port}", keys)


def _port_options(ports: Sequence[int]) -> list[str]:
    options = [f"-{part}.port{protocol}" for part in _PARTS for protocol in ("", ".grpc")]
    return [f"{option}={port}" for option, port in zip(options, ports, strict=True)]


def _probe(address: S3Address) -> Probe:
    def probe() -> str | None:
        with PoolManager(timeout=_PROBE_TIMEOUT_S, retries=False) as pool:
            keys = address.keys
            client = Minio(
                address.endpoint,
                access_key=keys.access_key,
                secret_key=keys.secret_key,
                region=REGION,
                secure=False,
                http_client=pool,
            )
            try:
                # It answers requests about the bucket before its volumes can be read or written.
                client.put_object(BUCKET, _PROBE_KEY, io.BytesIO(_PROBE_KEY.encode()), len(_PROBE_KEY))
                client.get_object(BUCKET, _PROBE_KEY).close()
                client.remove_object(BUCKET, _PROBE_KEY)
            except (MinioException, HTTPError) as error:
                return str(error)
        return None

    return probe
