"""Overlays find their stores: production those of the example, under the names and rights that operators give them."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

import pytest

from servicekit.config import split_address
from servicekit.etcd import Etcd
from servicekit.settings import EtcdSettings
from tests.kubernetes.manifests import STORES_EXAMPLE, Rendering, is_selected, pod_of, render
from tests.kubernetes.test_secrets import keys_used


@pytest.fixture(scope="module")
def stores() -> Rendering:
    return render(STORES_EXAMPLE)


@pytest.fixture(scope="module")
def production() -> Rendering:
    return render("overlays/production")


@pytest.fixture(scope="module")
def settings(production: Rendering) -> dict[str, str]:
    return production.shared_variables(production.container("media"))


def test_every_object_is_in_the_namespace_of_the_stores(stores: Rendering) -> None:
    assert {each["metadata"].get("namespace", "parley-stores") for each in stores.manifests} == {"parley-stores"}


def test_members_of_etcd_find_each_other(stores: Rendering) -> None:
    workload = stores.find("StatefulSet", "etcd")
    names = [f"etcd-{number}" for number in range(workload["spec"]["replicas"])]
    service = workload["spec"]["serviceName"]
    arguments = dict(each.split("=", 1) for each in stores.container("etcd").spec["args"])
    assert arguments["--initial-cluster"].split(",") == [f"{name}=http://{name}.{service}:2380" for name in names]
    assert stores.find("Service", service)["spec"]["publishNotReadyAddresses"] is True


def test_name_of_etcd_resolves_to_the_members_that_are_ready(stores: Rendering, settings: dict[str, str]) -> None:
    host, port = split_address(settings["PARLEY_ETCD_ENDPOINTS"])
    name, namespace = host.split(".")
    assert namespace == "parley-stores"
    service = stores.find("Service", name)["spec"]
    assert service["clusterIP"] == "None"
    assert not service.get("publishNotReadyAddresses")
    assert is_selected(service["selector"], stores.find("StatefulSet", "etcd"))
    assert {"name": "client", "port": port} in service["ports"]


@pytest.mark.parametrize("target", ["overlays/dev", "overlays/production"])
async def test_every_client_of_etcd_accepts_its_address(target: str) -> None:
    rendering = render(target)
    containers = [container for _, container in rendering.services()] + [rendering.container("operator")]
    for container in containers:
        addresses = rendering.shared_variables(container)["PARLEY_ETCD_ENDPOINTS"]
        async with Etcd.from_settings(EtcdSettings.load(etcd_endpoints=addresses)):
            pass


def test_s3_store_is_found_and_lets_the_services_use_the_bucket_alone(
    stores: Rendering, production: Rendering, settings: dict[str, str]
) -> None:
    store = stores.find("Seaweed", "seaweedfs")["metadata"]["name"]
    assert production.find("Service", "s3")["spec"]["externalName"] == f"{store}-s3.parley-stores.svc.cluster.local"
    assert settings["PARLEY_S3_URL"] == "http://s3:8333"
    bucket = settings["PARLEY_S3_BUCKET"]
    assert stores.find("Bucket", bucket)
    statements: list[dict[str, Any]] = stores.find("S3Policy", "media")["spec"]["statements"]
    assert [each["resources"] for each in statements] == [[bucket], [f"{bucket}/*"]]


def test_keys_of_the_s3_store_have_the_names_that_media_reads(stores: Rendering, production: Rendering) -> None:
    written = stores.find("S3Credentials", "parley")["spec"]["secretRef"]
    fields = {(written["name"], written[each]) for each in ("accessKeyField", "secretKeyField")}
    assert fields == {each for each in keys_used(production.container("media")) if each[0] == "parley-s3"}


def test_index_of_files_and_the_identities_of_s3_are_kept(stores: Rendering) -> None:
    filer = stores.find("Seaweed", "seaweedfs")["spec"]["filer"]
    assert filer["persistence"]["enabled"] is True
    [folder] = re.findall(r'^dir = "(.*)"$', filer["config"], re.MULTILINE)
    assert folder.startswith(f"{filer['persistence']['mountPath']}/")


def test_user_of_mongodb_may_use_the_database_alone(stores: Rendering, settings: dict[str, str]) -> None:
    [user] = stores.find("MongoDBCommunity", "mongodb")["spec"]["users"]
    assert user["roles"] == [{"name": "readWrite", "db": settings["PARLEY_MONGO_DATABASE"]}]


def test_redis_evicts_nothing(stores: Rendering) -> None:
    name = stores.find("RedisReplication", "redis")["spec"]["redisConfig"]["additionalRedisConfig"]
    assert "maxmemory-policy noeviction" in stores.find("ConfigMap", name)["data"]["redis-additional.conf"]


def test_mongodb_of_development_finds_itself_after_a_restart_under_the_name_that_others_use() -> None:
    development = render("overlays/dev")
    mongodb = development.find("StatefulSet", "mongodb")
    service = development.find("Service", mongodb["spec"]["serviceName"])["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    member = f"mongodb-0.{mongodb['spec']['serviceName']}"
    secret, key = development.container("chat").secret_keys["PARLEY_MONGO_URI"]
    uri = development.find("Secret", secret)["data"][key]
    assert urlsplit(b64decode(uri).decode()).netloc == f"{member}:27017"
    command = development.container("prepare").spec["command"]
    assert command[command.index("--mongodb") + 1] == f"{member}:27017"
    assert pod_of(mongodb)["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": [member]}]
