"""The manifests are valid for the last three minor versions of Kubernetes, without a field that they do not have."""

from __future__ import annotations

import json

import kubernetes_validate
import pytest

from tests.kubernetes.manifests import MONITORING, STORES_EXAMPLE, TARGETS, Rendering, render

VERSIONS = ("1.35.0", "1.36.0", "1.37.0")
# The objects of operators, whose schemas come with the operators.
FOREIGN_GROUPS = (
    "cert-manager.io",
    "mongodbcommunity.mongodb.com",
    "redis.redis.opstreelabs.in",
    "seaweed.seaweedfs.com",
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", [*TARGETS, STORES_EXAMPLE, MONITORING])
def test_manifests_are_valid(target: str, version: str) -> None:
    check_schemas(render(target), version)


def check_schemas(rendering: Rendering, version: str) -> None:
    checked = [each for each in rendering.manifests if not each["apiVersion"].startswith(FOREIGN_GROUPS)]
    assert checked
    for manifest in checked:
        kubernetes_validate.validate(manifest, version, strict=True)
        # `kubectl apply` keeps a copy of the object in its annotations, which have 256 KiB. The rest is a margin.
        assert len(json.dumps(manifest)) < 240 * 1024, manifest["metadata"]["name"]


def test_invalid_manifest_is_found() -> None:
    manifest = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_versions_are_the_last_three() -> None:
    newest = int(kubernetes_validate.latest_version().split(".")[1])
    assert [int(each.split(".")[1]) for each in VERSIONS] == [newest - 2, newest - 1, newest]
