"""Each store alone: it starts, answers, can be killed and frozen, and keeps acknowledged data."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
import redis
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from devstack.errors import ProcessFailed
from devstack.stack import Stack

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


def test_frozen_part_is_unhealthy_until_resumed(tmp_path: Path) -> None:
    with Stack(tmp_path, only=["valkey"]) as stack:
        part = stack.processes["valkey"]
        part.freeze()
        with pytest.raises(ProcessFailed, match="valkey is not healthy after"):
            part.wait_healthy(timeout=0.1)
        part.resume()
        part.wait_healthy()
