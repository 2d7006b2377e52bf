"""Secrets are referred to, each by those who need it alone, and every one is made or documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from devstack.preparation import secrets_of
from devstack.secret_files import ensure_secret_files
from tests.kubernetes.manifests import ROOT, Container, Rendering, render

PAGE: Final = ROOT / "docs" / "kubernetes.md"


def keys_used(container: Container) -> Iterator[tuple[str, str]]:
    """Yield the secrets and keys that a container reads: one by one in variables, and as files in variables."""
    for variable in container.environment.values():
        if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
            yield reference["name"], reference["key"]
    volumes = {each["name"]: each["secret"] for each in container.pod.get("volumes", ()) if "secret" in each}
    for mount in container.spec.get("volumeMounts", ()):
        if mount["name"] in volumes:
            secret = volumes[mount["name"]]
            items = [each["key"] for each in secret.get("items", ())]
            folder = f"{mount['mountPath']}/"
            files = [each.get("value", "") for each in container.environment.values()]
            for key in items or [each.removeprefix(folder) for each in files if each.startswith(folder)]:
                yield secret["secretName"], key


def all_keys_used(rendering: Rendering) -> set[tuple[str, str]]:
    """Return the keys that somebody must make: all but those of certificates that cert-manager issues."""
    issued = {each["spec"]["secretName"] for each in rendering.of_kind("Certificate")}
    used = {key for container in rendering.containers() for key in keys_used(container)}
    return {(secret, key) for secret, key in used if secret not in issued}


def test_preparation_makes_every_secret_of_the_cluster_for_development(tmp_path: Path) -> None:
    made = {(name, key) for name, data in secrets_of(ensure_secret_files(tmp_path)).items() for key in data}
    used = all_keys_used(render("overlays/dev"))
    assert ("parley-keys", "jwks.json") in used
    assert used == made


def test_page_lists_every_secret_of_production() -> None:
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \| `([A-Za-z0-9_.-]+)` \|", PAGE.read_text(), re.MULTILINE))
    stores = {("parley-stores", "PARLEY_MONGO_URI"), ("parley-stores", "PARLEY_REDIS_URL")}
    assert listed == all_keys_used(render("overlays/production")) | stores


def test_production_contains_no_secret() -> None:
    assert render("overlays/production").of_kind("Secret") == []


def test_only_chat_signs_tokens_and_only_media_has_the_keys_of_the_store(rendering: Rendering) -> None:
    readers = {"parley-signing-key": {"chat"}, "parley-push-keys": {"notify"}, "parley-s3": {"media", "s3"}}
    for container in rendering.containers():
        for secret, _ in keys_used(container):
            name = container.workload["metadata"]["name"]
            assert name in readers.get(secret, {name}), f"{container.label} reads {secret}"


def test_envoy_has_public_keys_alone(rendering: Rendering) -> None:
    used = {key for key in keys_used(rendering.container("envoy")) if key[0] not in ("door-tls", "envoy-tls")}
    assert used == {("parley-keys", "jwks.json")}


def test_files_in_variables_are_in_a_volume(rendering: Rendering) -> None:
    for container in rendering.containers():
        folders = [mount["mountPath"] for mount in container.spec.get("volumeMounts", ())]
        for name, variable in container.environment.items():
            if name.endswith("_FILE"):
                path = variable["value"]
                assert any(path.startswith(f"{folder}/") for folder in folders), f"{container.label}: {name}"
