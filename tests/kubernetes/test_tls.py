"""In production every process has a certificate of its own, with the identity that the others expect."""

from __future__ import annotations

from typing import Any, Final

import pytest

from servicekit.certificates import Identity
from servicekit.transport import GATEWAY, OPERATOR
from tests.kubernetes.manifests import Container, Rendering, render
from tools import kubernetes

FILES: Final = {"CERTIFICATE": "tls.crt", "KEY": "tls.key", "CA": "ca.crt"}


@pytest.fixture
def production() -> Rendering:
    return render("overlays/production")


def mounted_secrets(container: Container) -> dict[str, str]:
    """Return the names of the secrets that a container mounts, by folder."""
    volumes = {each["name"]: each["secret"]["secretName"] for each in container.pod["volumes"] if "secret" in each}
    mounts: list[dict[str, Any]] = container.spec["volumeMounts"]
    return {each["mountPath"]: volumes[each["name"]] for each in mounts if each["name"] in volumes}


def test_each_certificate_has_the_identity_of_its_holder(production: Rendering) -> None:
    issued = {each["metadata"]["name"]: each["spec"] for each in production.of_kind("Certificate")}
    for name in (*kubernetes.PORTS, GATEWAY, OPERATOR):
        identity, certificate = Identity(kubernetes.TRUST_DOMAIN, name), issued[f"{name}-tls"]
        assert certificate["uris"] == [identity.spiffe_id]
        assert certificate["dnsNames"] == [identity.dns_name]
        assert certificate["secretName"] == f"{name}-tls"
        assert set(certificate["usages"]) == {"server auth", "client auth"}


def test_each_process_reads_its_own_certificate(production: Rendering) -> None:
    for name, container in [*production.services(), (OPERATOR, production.container("operator"))]:
        paths = [container.environment[f"PARLEY_TLS_{variable}_FILE"]["value"] for variable in FILES]
        [folder] = {path.rpartition("/")[0] for path in paths}
        assert [path.rpartition("/")[2] for path in paths] == list(FILES.values())
        assert mounted_secrets(container)[folder] == f"{name}-tls"


def test_envoy_has_the_certificates_that_its_configuration_names(production: Rendering) -> None:
    mounted = mounted_secrets(production.container("envoy"))
    assert mounted[str(kubernetes.DOOR_FOLDER)] == "door-tls"
    assert mounted[str(kubernetes.GATEWAY_FOLDER)] == f"{GATEWAY}-tls"
