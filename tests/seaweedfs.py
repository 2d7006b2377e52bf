"""A SeaweedFS alone, as the S3 store of a test."""

from __future__ import annotations

import json
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from devstack.managed_process import ManagedProcess, ProcessSpec
from devstack.ports import LOOPBACK, PortBlock
from media_service.settings import S3Settings

ACCESS_KEY, SECRET_KEY = "parley", "the secret of the tests"
BUCKET = "media"


@contextmanager
def seaweedfs_server(folder: Path) -> Iterator[ManagedProcess]:
    block = PortBlock()
    process = ManagedProcess(_spec(folder, block.ports.base + 100))
    process.start()
    try:
        process.wait_healthy()
        yield process
    finally:
        process.terminate(5)
        block.release()


def s3_settings(process: ManagedProcess, bucket: str = BUCKET) -> S3Settings:
    return S3Settings(
        s3_url=f"http://{process.address}",
        s3_bucket=bucket,
        s3_access_key=ACCESS_KEY,
        s3_secret_key=SecretStr(SECRET_KEY),
    )


def _spec(folder: Path, base: int) -> ProcessSpec:
    data, identities = folder / "data", folder / "s3.json"
    data.mkdir(parents=True)
    key = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    reader = {"accessKey": "reader", "secretKey": "reader"}
    identities.write_text(
        json.dumps(
            {
                "identities": [
                    {"name": "parley", "credentials": [key], "actions": actions},
                    {"name": "reader", "credentials": [reader], "actions": ["Read:elsewhere", "List:elsewhere"]},
                ]
            }
        )
    )
    ports = {name: base + 2 * number for number, name in enumerate(("master", "volume", "filer", "s3", "admin"))}
    weed = str(Path(sysconfig.get_path("scripts"), "weed"))
    command = (
        *(
            weed,
            "-logtostderr=true",
            "mini",
            f"-dir={data}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
        ),
        *(f"-{name}.port={port}" for name, port in ports.items()),
        *(f"-{name}.port.grpc={port + 1}" for name, port in ports.items()),
        *(f"-s3.config={identities}", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-s3.autoCreateBucket=false"),
    )
    address = f"{LOOPBACK}:{ports['s3']}"

    def probe() -> str | None:
        try:
            urllib.request.urlopen(f"http://{address}/", timeout=2).close()
        except urllib.error.HTTPError as error:
            return None if error.code == 403 else str(error)
        except OSError as error:
            return str(error)
        return "it lets anonymous users in"

    return ProcessSpec("seaweedfs", command, folder / "log", probe, address, tuple(ports.values()))
