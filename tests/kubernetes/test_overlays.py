"""An overlay of one's own: a copy of that for production, in the tree or elsewhere, with an image of any registry."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.kubernetes.manifests import K8S, ROOT, Rendering, pod_of, render

PAGE: Final = ROOT / "docs" / "kubernetes.md"
PRODUCTION: Final = "overlays/production"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy outside of the tree, in which the references to the tree are replaced."""
    folder = tmp_path / "overlay"
    shutil.copytree(K8S / PRODUCTION, folder)
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("../../", f"{os.path.relpath(K8S, folder)}/"))
    return folder


def test_copy_outside_of_the_tree_renders_the_same(copy: Path) -> None:
    assert Rendering(str(copy)).manifests == render(PRODUCTION).manifests


def test_secret_of_a_registry_is_that_of_every_pod_by_the_patch_of_the_page(copy: Path) -> None:
    [patch] = [each for each in yaml_blocks() if "imagePullSecrets" in str(each)]
    file = copy / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text())
    kustomization["patches"] += patch["patches"]
    file.write_text(yaml.safe_dump(kustomization))
    rendering = Rendering(str(copy))
    accounts = {each["metadata"]["name"]: each for each in rendering.of_kind("ServiceAccount")}
    for workload in rendering.workloads:
        assert accounts[pod_of(workload)["serviceAccountName"]]["imagePullSecrets"] == [{"name": "registry"}]


def test_image_of_parley_comes_from_a_registry_of_the_overlay() -> None:
    [image] = [each for each in kustomization_of(PRODUCTION)["images"] if each["name"] == "parley"]
    containers = [container for _, container in render(PRODUCTION).services()]
    for container in [*containers, render(PRODUCTION).container("operator")]:
        assert container.spec["image"] == f"{image['newName']}:{image['newTag']}", container.label


def kustomization_of(target: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((K8S / target / "kustomization.yaml").read_text())
    return found


def yaml_blocks() -> list[Any]:
    """Return the blocks of YAML of the page."""
    return [
        yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    ]
