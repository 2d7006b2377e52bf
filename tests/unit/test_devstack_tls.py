"""A stack with TLS that was not started: its certificates, Envoy's configuration, its settings and its guide."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from devstack.certificates import DOOR, StackCertificates
from devstack.envoy_template import render_configuration
from devstack.options import parse_options
from devstack.stack import Stack
from devstack.startup_summary import startup_summary
from servicekit.certificates import Identity, read_certificate
from servicekit.settings import TlsSettings
from servicekit.transport import GATEWAY, OPERATOR
from tests.unit.test_devstack_door import TABLE, VALUES
from tests.unit.test_devstack_layout import PORTS

ROOT = Path(__file__).parents[2]
HOLDERS = ("chat", GATEWAY, OPERATOR, DOOR)


def test_keys_are_private_and_the_authority_is_kept(tmp_path: Path) -> None:
    first = StackCertificates(tmp_path / "tls", ["chat"])
    for key in (tmp_path / "tls" / "ca.key", *(first.folder_of(holder) / "tls.key" for holder in HOLDERS)):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    certificate, authority = first.folder_of("chat") / "tls.crt", first.ca_file.read_bytes()
    issued = certificate.read_bytes()
    again = StackCertificates(tmp_path / "tls", ["chat"])
    assert again.ca_file.read_bytes() == authority == (again.folder_of("chat") / "ca.crt").read_bytes()
    assert certificate.read_bytes() != issued
    assert len(list(again.folder_of("chat").glob("..?*"))) == 2, "what was replaced is removed"


def test_certificate_of_the_door_names_the_machine(tmp_path: Path) -> None:
    folder = StackCertificates(tmp_path, ["chat"]).folder_of(DOOR)
    certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == []


def test_each_service_has_a_certificate_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(tmp_path, 1, ports=PORTS, tls=True)
    for service in ("chat", "media", "presence", "notify"):
        environment = stack.replicas(service)[0].spec.environment
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = TlsSettings.load()
        files = settings.certificate_files
        assert files is not None
        read_certificate(files, Identity(settings.tls_trust_domain, service), files.key.stat().st_mtime)
    assert stack.replicas("media")[0].spec.environment["PARLEY_S3_PUBLIC_URL"] == "https://127.0.0.1:8090"


@pytest.fixture(scope="module")
def resources() -> Any:
    values = {**VALUES, "SECRETS_FOLDER": "/t", "TRUST_DOMAIN": "example.org"}
    return yaml.safe_load(render_configuration(values, TABLE, tls=True))["static_resources"]


def test_clusters_expect_the_identity_of_their_service(resources: Any) -> None:
    *services, s3 = resources["clusters"]
    expected = []
    for cluster in services:
        tls = cluster["transport_socket"]["typed_config"]
        validation = tls["common_tls_context"]["combined_validation_context"]
        [name] = validation["default_validation_context"]["match_typed_subject_alt_names"]
        expected.append((tls["sni"], name["san_type"], name["matcher"]["exact"]))
    assert expected == [
        ("chat.example.org", "URI", "spiffe://example.org/chat"),
        ("presence.example.org", "URI", "spiffe://example.org/presence"),
    ]
    assert "transport_socket" not in s3


def test_both_listeners_show_the_certificate_of_the_door(resources: Any) -> None:
    for listener in resources["listeners"]:
        tls = listener["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]
        [secret] = tls["tls_certificate_sds_secret_configs"]
        assert secret["sds_config"]["path_config_source"]["path"] == "/t/door.yaml"
        assert tls["alpn_protocols"] == ["h2", "http/1.1"]


def test_without_tls_nothing_of_it_is_rendered() -> None:
    text = render_configuration(VALUES, TABLE)
    assert "transport_socket" not in text
    with pytest.raises(KeyError, match="TRUST_DOMAIN"):
        render_configuration({**VALUES, "SECRETS_FOLDER": "/t"}, TABLE, tls=True)


def test_guide_names_the_authority(tmp_path: Path) -> None:
    stack = Stack(tmp_path, 2, ports=PORTS, tls=True)
    ca_file = min(str(stack.ca_file), os.path.relpath(str(stack.ca_file)), key=len)
    text = startup_summary(stack)
    assert f"Clients trust {ca_file};" in text
    assert "presigned addresses of files at https://127.0.0.1:8090." in text
    assert f"parley demo --ca {ca_file}\n" in text
    assert f"grpcurl -cacert {ca_file} 127.0.0.1:8080 list" in text
    alone = startup_summary(Stack(tmp_path, 0, ports=PORTS, tls=True))
    assert f"curl -i --cacert {ca_file} https://127.0.0.1:8080/" in alone


@pytest.mark.parametrize(("variable", "expected"), [("TLS=1", True), ("TLS=0", False), ("TLS=", False)])
def test_make_run_passes_the_switch_on(variable: str, expected: bool, tmp_path: Path) -> None:
    assert parse_options(["--tls"]).tls is True
    assert parse_options([]).tls is False
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", "start", variable]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    [started] = [line.split() for line in answer.stdout.splitlines() if "-m devstack " in f"{line} "]
    assert ("--tls" in started) is expected
