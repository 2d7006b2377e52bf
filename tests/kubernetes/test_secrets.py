"""Secrets are referred to, each by those who need it alone, and every one is made or documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from devstack.preparation import secrets_of
from devstack.secret_files import ensure_secret_files
from devstack.services import SERVICES
from tests.kubernetes.manifests import ROOT, Container, Rendering, render
from tests.kubernetes.settings import secret_variables_of, settings_of

PAGE: Final = ROOT / "docs" / "kubernetes.md"
PASSWORD_OF_ETCD: Final = ("parley-etcd", "password")


def keys_used(container: Container) -> Iterator[tuple[str, str]]:
    """Yield the secrets and keys that a container reads: one by one in variables, and as files in variables."""
    yield from container.secret_keys.values()
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
    """Return the keys that somebody must make: all but those of the manifests, and of certificates of cert-manager."""
    issued = {each["spec"]["secretName"] for each in rendering.of_kind("Certificate")}
    issued |= {each["metadata"]["name"] for each in rendering.of_kind("Secret")}
    used = {key for container in rendering.containers() for key in keys_used(container)}
    return {(secret, key) for secret, key in used if secret not in issued}


def test_preparation_makes_every_secret_of_the_cluster_for_development(tmp_path: Path) -> None:
    made = {(name, key) for name, data in secrets_of(ensure_secret_files(tmp_path)).items() for key in data}
    used = all_keys_used(render("overlays/dev"))
    assert ("parley-keys", "jwks.json") in used
    # The etcd for development has no users.
    assert used == made | {PASSWORD_OF_ETCD}


def test_page_lists_every_secret_of_production() -> None:
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \| `([A-Za-z0-9_.-]+)` \|", PAGE.read_text(), re.MULTILINE))
    assert listed == all_keys_used(render("overlays/production"))


def test_production_contains_no_secret() -> None:
    assert render("overlays/production").of_kind("Secret") == []


def test_no_config_map_has_a_variable_that_is_secret(rendering: Rendering) -> None:
    secret = {variable for each in SERVICES for variable in secret_variables_of(settings_of(each.name))}
    for config_map in rendering.of_kind("ConfigMap"):
        assert not config_map.get("data", {}).keys() & secret, config_map["metadata"]["name"]


def test_each_service_has_its_own_secret_of_stores_with_what_its_settings_have(rendering: Rendering) -> None:
    for name, container in rendering.services():
        assert secret_variables_of(settings_of(name)) <= container.secret_keys.keys(), container.label
        assert all("configMapRef" in each for each in container.spec["envFrom"]), container.label
        for variable in ("PARLEY_MONGO_URI", "PARLEY_REDIS_URL"):
            if variable in container.secret_keys:
                secret, key = container.secret_keys[variable]
                # kustomize adds a hash of the content to those that it makes.
                assert secret.startswith(f"parley-stores-{name}")
                assert key == variable


def test_generated_secrets_have_what_their_service_reads_and_no_more() -> None:
    rendering = render("overlays/dev")
    made = {(each["metadata"]["name"], key) for each in rendering.of_kind("Secret") for key in each["data"]}
    used = {reference for _, container in rendering.services() for reference in container.secret_keys.values()}
    assert made
    assert made == {(secret, key) for secret, key in used if secret.startswith("parley-stores-")}


def test_services_and_the_operator_sign_in_to_etcd_if_it_has_users(rendering: Rendering) -> None:
    for container in [container for _, container in rendering.services()] + [rendering.container("operator")]:
        assert container.secret_keys["PARLEY_ETCD_PASSWORD"] == PASSWORD_OF_ETCD
        assert container.environment["PARLEY_ETCD_PASSWORD"]["valueFrom"]["secretKeyRef"]["optional"] is True


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
