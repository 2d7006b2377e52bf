"""Each store alone: it starts, answers, can be killed and frozen, and keeps acknowledged data."""

from __future__ import annotations

import io
import json
import os
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
import redis
from minio.error import S3Error
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from bench.usage import resident_bytes
from devstack.errors import ProcessFailed
from devstack.s3 import BUCKET
from devstack.stack import Stack
from tests.integration.devstack.presigned import s3_client

pytestmark = pytest.mark.integration


def test_mongod_keeps_majority_write_through_crash(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["mongod"]) as stack:
        with MongoClient[dict[str, object]](stack.mongo_uri) as client:
            rows = client["parley"].get_collection("rows", write_concern=WriteConcern(w="majority", j=True))
            rows.insert_one({"_id": 1})
        part = stack.processes["mongod"]
        part.kill()
        assert not part.running
        part.start()
        part.wait_healthy()
        with MongoClient[dict[str, object]](stack.mongo_uri) as client:
            assert client["parley"]["rows"].find_one() == {"_id": 1}


def test_mongod_accepts_data_from_stack_on_other_ports(tmp_path: Path) -> None:
    for turn in (1, 2):
        with (
            Stack(tmp_path, only=["mongod"]) as stack,
            MongoClient[dict[str, object]](stack.mongo_uri) as client,
        ):
            client["parley"]["rows"].insert_one({"_id": turn})
            assert client["parley"]["rows"].count_documents({}) == turn


def test_valkey_keeps_acknowledged_writes(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["valkey"]) as stack:
        redis.Redis.from_url(stack.redis_url).set("key", "value")
        stack.processes["valkey"].terminate()
        stack.processes["valkey"].start()
        stack.processes["valkey"].wait_healthy()
        assert redis.Redis.from_url(stack.redis_url).get("key") == b"value"


def test_etcd_reports_its_version(etcd: Stack) -> None:
    with urllib.request.urlopen(f"http://{etcd.etcd_endpoint}/version") as answer:
        assert json.load(answer)["etcdserver"] == "3.5.1"


def test_seaweedfs_keeps_acknowledged_objects_through_crash(tmp_path: Path) -> None:
    bodies = {f"o/{number}": os.urandom(size) for number, size in enumerate([0, 1, 70_000, 9 << 20])}
    with Stack(tmp_path, only=["seaweedfs"]) as stack:
        part, client = stack.processes["seaweedfs"], s3_client(stack, stack.s3.url)
        for key, body in bodies.items():
            client.put_object(BUCKET, key, io.BytesIO(body), len(body))
        part.kill()
        part.start()
        part.wait_healthy()
        client = s3_client(stack, stack.s3.url)
        for key, body in bodies.items():
            with client.get_object(BUCKET, key) as answer:
                assert answer.read() == body


def test_seaweedfs_stops_soon_after_it_was_used(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["seaweedfs"]) as stack:
        part, client = stack.processes["seaweedfs"], s3_client(stack, stack.s3.url)
        client.put_object(BUCKET, "o", io.BytesIO(bytes(9 << 20)), 9 << 20)
        # The client keeps its connection.
        assert part.terminate(grace=8.0) == 0


def test_seaweedfs_accepts_data_from_stack_on_other_ports(tmp_path: Path) -> None:
    for turn in (1, 2):
        with Stack(tmp_path, only=["seaweedfs"]) as stack:
            client = s3_client(stack, stack.s3.url)
            client.put_object(BUCKET, f"o/{turn}", io.BytesIO(b"x" * turn), turn)
            assert [each.size for each in client.list_objects(BUCKET, "o/")] == [1, 2][:turn]


def test_seaweedfs_is_small_while_it_is_empty(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["seaweedfs"]) as stack:
        assert resident_bytes(stack.processes["seaweedfs"].pid) < 256 << 20
        blocks = sum(path.stat().st_blocks * 512 for path in (tmp_path / "data").rglob("*") if path.is_file())
        assert blocks < 4 << 20


def test_seaweedfs_identity_has_no_right_beyond_its_bucket(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["seaweedfs"]) as stack:
        client = s3_client(stack, stack.s3.url)
        for forbidden in (
            lambda: client.make_bucket("other"),
            lambda: client.remove_bucket(BUCKET),
            lambda: client.put_object("other", "o", io.BytesIO(b"x"), 1),
            lambda: list(client.list_objects("other")),
        ):
            with pytest.raises(S3Error, match="AccessDenied"):
                forbidden()
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(f"{stack.s3.url}/{BUCKET}/o")
        assert refused.value.code == 403


def test_frozen_part_is_unhealthy_until_resumed(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["valkey"]) as stack:
        part = stack.processes["valkey"]
        part.freeze()
        with pytest.raises(ProcessFailed, match="valkey is not healthy after"):
            part.wait_healthy(timeout=0.1)
        part.resume()
        part.wait_healthy()
