"""The commands of the pages name what the manifests have."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from devstack.services import SERVICES
from tests.kubernetes.manifests import ROOT, STORES_EXAMPLE, Manifest, Rendering, is_selected, render

DOCS: Final = ROOT / "docs"
RESTORE: Final = DOCS / "backup.md"
PAGES: Final = (DOCS / "kubernetes.md", RESTORE)
NAMESPACES: Final = {"parley": "overlays/production", "parley-stores": STORES_EXAMPLE}
KINDS: Final = {"statefulset": "StatefulSet", "deployment": "Deployment"}


def commands(page: Path) -> list[list[str]]:
    """Return the words of each `kubectl -n NAMESPACE …` in the blocks of a page, from the namespace on."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = re.split(r"\n|&&|;", "\n".join(blocks))
    return [shlex.split(line)[2:] for line in lines if line.strip().startswith("kubectl -n ")]


def commands_of(page: Path, *verb: str) -> list[list[str]]:
    """Return the arguments of the commands of a page that begin with these words after the namespace."""
    return [words[1 + len(verb) :] for words in commands(page) if tuple(words[1 : 1 + len(verb)]) == verb]


def workloads_in(words: list[str]) -> set[str]:
    return {name for _, slash, name in (word.partition("/") for word in words) if slash}


def services() -> set[str]:
    return {each.name for each in SERVICES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_workloads_of_commands_exist(page: Path) -> None:
    assert commands(page)
    for namespace, *words in commands(page):
        rendering = render(NAMESPACES[namespace])
        for kind, slash, name in (word.partition("/") for word in words):
            if slash and kind in KINDS:
                assert rendering.find(KINDS[kind], name)


def test_page_restarts_every_workload_that_reads_the_public_keys() -> None:
    restarted = set[str]().union(*map(workloads_in, commands_of(DOCS / "kubernetes.md", "rollout", "restart")))
    assert restarted == {each["metadata"]["name"] for each in readers_of_public_keys(render("overlays/production"))}


def readers_of_public_keys(rendering: Rendering) -> list[Manifest]:
    return [
        container.workload
        for container in rendering.containers()
        for volume in container.pod["volumes"]
        if volume.get("secret", {}).get("secretName") == "parley-keys"
        and "jwks.json" in [each["key"] for each in volume["secret"].get("items", [{"key": "jwks.json"}])]
    ]


def test_restore_stops_every_server_for_good() -> None:
    [deleted] = commands_of(RESTORE, "delete", "hpa")
    assert set(deleted) == services()
    assert render("overlays/production").of_kind("HorizontalPodAutoscaler")
    [stopped] = [words for words in commands_of(RESTORE, "scale") if "--replicas=0" in words]
    assert workloads_in(stopped) == services()
    [waited] = commands_of(RESTORE, "wait")
    key, value = waited[waited.index("--selector") + 1].split("=")
    rendering = render("overlays/production")
    found = {each["metadata"]["name"] for each in rendering.workloads if is_selected({key: value}, each)}
    assert found == services()


def test_restore_starts_every_server_as_often_as_its_autoscaler_demands() -> None:
    rendering = render("overlays/production")
    started = dict[str, int]()
    for count, *words in commands_of(RESTORE, "scale"):
        replicas = int(count.removeprefix("--replicas="))
        if replicas:
            started |= dict.fromkeys(workloads_in(words), replicas)
    minimum = {name: rendering.find("HorizontalPodAutoscaler", name)["spec"]["minReplicas"] for name in services()}
    assert started == minimum


def test_restore_deletes_the_claims_of_every_member_of_etcd_and_redis() -> None:
    stores = render(STORES_EXAMPLE)
    etcd, redis = stores.find("StatefulSet", "etcd"), stores.find("RedisReplication", "redis")
    [template] = etcd["spec"]["volumeClaimTemplates"]
    expected = {f"{template['metadata']['name']}-etcd-{number}" for number in range(etcd["spec"]["replicas"])}
    # Its operator names a claim after the replication, twice.
    expected |= {f"redis-redis-{number}" for number in range(redis["spec"]["clusterSize"])}
    deleted = {name for _, *names in commands_of(RESTORE, "delete", "pvc") for name in names}
    assert deleted == expected


def test_restore_deletes_stores_before_their_claims() -> None:
    deleted = [
        words for namespace, verb, *words in commands(RESTORE) if (namespace, verb) == ("parley-stores", "delete")
    ]
    kinds = [kind for kind, *_ in deleted]
    assert kinds == ["statefulset", "redissentinel", "redisreplication", "pvc", "pvc"]
    stores = render(STORES_EXAMPLE)
    assert [name for _, name in deleted[:3]] == [
        stores.find("StatefulSet", "etcd")["metadata"]["name"],
        stores.find("RedisSentinel", "redis-sentinel")["metadata"]["name"],
        stores.find("RedisReplication", "redis")["metadata"]["name"],
    ]
