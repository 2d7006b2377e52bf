"""Secrets, environments and the guide of a stack that was not started."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from devstack.errors import SetupError
from devstack.issuer import Issuer
from devstack.launcher import lock_folder
from devstack.layout import StoreAddresses
from devstack.ports import Ports
from devstack.s3 import S3Address, S3Keys, read_keys
from devstack.secret_files import ensure_secret_files
from devstack.services import CHAT, MEDIA, ServiceType
from devstack.stack import Stack
from devstack.startup_summary import startup_summary
from servicekit.auth import ServiceCredential, TokenSigner, TokenVerifier

PORTS = Ports(door=8080, media=8090, base=5100)


def test_secrets_are_private_and_persistent(tmp_path: Path) -> None:
    first = ensure_secret_files(tmp_path / "secrets")
    for path in (first.signing_key, first.jwks, first.credential, first.s3_identities, first.vapid_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    kept = (first.signing_key, first.credential, first.s3_identities, first.vapid_key)
    contents = [path.read_bytes() for path in kept]
    assert ensure_secret_files(tmp_path / "secrets") == first
    assert [path.read_bytes() for path in kept] == contents


def test_jwks_matches_the_signing_key(tmp_path: Path) -> None:
    files = ensure_secret_files(tmp_path)
    signer = TokenSigner(files.signing_key.read_bytes(), issuer="parley", audience="parley")
    verifier = TokenVerifier(json.loads(files.jwks.read_text()), issuer="parley", audience="parley")
    token, _ = signer.sign("a" * 32, "b" * 32)
    assert verifier.verify(token).user_id == "a" * 32
    assert ServiceCredential.from_file(files.credential).metadata()


def test_chat_server_environment_is_complete(tmp_path: Path) -> None:
    stack = Stack(
        tmp_path, 2, ports=PORTS, environment={"PARLEY_LOG_LEVEL": "debug"}, environment_of={"chat-2": {"OWN": "2"}}
    )
    first, second = stack.chat_servers
    assert (first.address, first.internal_address, first.metrics_address) == (
        "127.0.0.1:5101",
        "127.0.0.1:5121",
        "127.0.0.1:5141",
    )
    told = first.spec.environment
    assert told["PARLEY_MONGO_URI"] == "mongodb://127.0.0.1:5281/?replicaSet=rs0"
    assert told["PARLEY_REDIS_URL"] == "redis://127.0.0.1:5282/0"
    assert told["PARLEY_ETCD_ENDPOINTS"] == "127.0.0.1:5283"
    assert told["PARLEY_LOG_LEVEL"] == "debug"
    assert told["PARLEY_SIGNING_KEY_FILE"] == str(stack.signing_key_file)
    assert "OWN" not in told
    assert second.spec.environment["OWN"] == "2"


def test_only_the_service_that_signs_users_in_has_the_signing_key(tmp_path: Path) -> None:
    other = ServiceType("other", "other", "another server", ())
    stack = Stack(tmp_path, 1, services=(CHAT, other), ports=PORTS)
    assert "PARLEY_SIGNING_KEY_FILE" in stack.chat_servers[0].spec.environment
    assert "PARLEY_SIGNING_KEY_FILE" not in stack.replicas("other")[0].spec.environment
    issuer = Issuer("https://issuer", "app", tmp_path / "jwks.json")
    external = Stack(tmp_path, 1, ports=PORTS, issuer=issuer).chat_servers[0].spec.environment
    assert "PARLEY_SIGNING_KEY_FILE" not in external
    assert external["PARLEY_SIGN_IN_HERE"] == "false"


def test_only_the_service_that_uses_s3_has_its_keys(tmp_path: Path) -> None:
    stack = Stack(tmp_path, 1, services=(CHAT, MEDIA), ports=PORTS)
    [media] = stack.replicas("media")
    settings = {name: value for name, value in media.spec.environment.items() if name.startswith("PARLEY_S3_")}
    assert settings == {
        "PARLEY_S3_URL": "http://127.0.0.1:5286",
        "PARLEY_S3_PUBLIC_URL": "http://127.0.0.1:8090",
        "PARLEY_S3_BUCKET": "media",
        "PARLEY_S3_REGION": "us-east-1",
        "PARLEY_S3_ACCESS_KEY": stack.s3.keys.access_key,
        "PARLEY_S3_SECRET_KEY": stack.s3.keys.secret_key,
    }
    assert not [name for name in stack.chat_servers[0].spec.environment if name.startswith("PARLEY_S3_")]


def test_service_that_uses_s3_runs_only_beside_an_s3_store(tmp_path: Path) -> None:
    without = StoreAddresses("mongodb://m", "redis://r", "e:1")
    stack = Stack(tmp_path, 1, services=(CHAT, MEDIA), ports=PORTS, stores=without)
    assert list(stack.processes) == ["envoy", "chat-1"]
    assert stack.processes["envoy"].spec.ports == (8080, 5285)
    with pytest.raises(SetupError, match="no S3 store"):
        _ = stack.s3
    external = S3Address("http://10.0.0.1:9000", S3Keys("A", "B"))
    stack = Stack(tmp_path, 1, services=(CHAT, MEDIA), ports=PORTS, stores=replace(without, s3=external))
    assert list(stack.processes) == ["envoy", "chat-1", "media-1"]
    assert stack.processes["envoy"].spec.ports == (8080, 8090, 5285)
    assert stack.replicas("media")[0].spec.environment["PARLEY_S3_URL"] == external.url


def test_identity_may_use_the_objects_of_one_bucket(tmp_path: Path) -> None:
    file = ensure_secret_files(tmp_path).s3_identities
    [identity] = json.loads(file.read_text())["identities"]
    assert identity["actions"] == ["Read:media", "Write:media", "List:media"]
    other = ensure_secret_files(tmp_path / "other").s3_identities
    assert len({*vars_of(read_keys(file)), *vars_of(read_keys(other))}) == 4


def vars_of(keys: S3Keys) -> tuple[str, str]:
    assert len(keys.access_key) == 20
    assert len(keys.secret_key) == 40
    return keys.access_key, keys.secret_key


def test_store_listens_on_its_ports_alone(tmp_path: Path) -> None:
    spec = Stack(tmp_path, ports=PORTS, only=["seaweedfs"]).processes["seaweedfs"].spec
    options = dict(each.removeprefix("-").partition("=")[::2] for each in spec.command if "=" in each)
    named = {int(value) for name, value in options.items() if ".port" in name}
    assert named == {0, *PORTS.seaweedfs}
    assert (options["ip"], options["ip.bind"]) == ("127.0.0.1", "127.0.0.1")
    assert options["master.telemetry"] == "false"
    assert spec.environment["AWS_ACCESS_KEY_ID"] == ""


def test_chat_servers_know_whether_there_is_a_media_service(tmp_path: Path) -> None:
    alone = Stack(tmp_path, 1, services=(CHAT,), ports=PORTS).chat_servers[0].spec.environment
    beside = Stack(tmp_path, 1, services=(CHAT, MEDIA), ports=PORTS).chat_servers[0].spec.environment
    assert alone["PARLEY_MEDIA_SERVICE"] == "false"
    assert "PARLEY_MEDIA_SERVICE" not in beside


def test_service_that_sends_pushes_records_them(tmp_path: Path) -> None:
    stack = Stack(tmp_path, 1, ports=PORTS)
    [chat], [first, second] = stack.chat_servers, stack.replicas("notify")
    recorded = {each.spec.environment["PARLEY_PUSH_RECORDING_FILE"] for each in (first, second)}
    assert recorded == {str(stack.layout.recorded_pushes)}
    assert stack.layout.recorded_pushes.parent.is_dir()
    assert not {"PARLEY_PUSH_RECORDING_FILE", "PARLEY_VAPID_KEY_FILE", "PARLEY_NOTIFY_SERVICE"} & set(
        chat.spec.environment
    )
    [alone] = Stack(tmp_path, 1, ports=PORTS, services=(CHAT,)).chat_servers
    assert alone.spec.environment["PARLEY_NOTIFY_SERVICE"] == "false"


def test_guide_names_every_part_and_commands(tmp_path: Path) -> None:
    text = startup_summary(Stack(tmp_path, 2, ports=PORTS))
    for name in ("mongod", "valkey", "etcd", "seaweedfs", "envoy", "chat-1", "chat-2", "media-1"):
        assert f"  {name} " in text
    assert "http://127.0.0.1:5141/metrics\n" in text
    assert "127.0.0.1:8090" in text
    assert "parley demo\n" in text
    assert "grpcurl -plaintext 127.0.0.1:8080 list" in text


def test_commands_of_the_guide_can_be_pasted(tmp_path: Path) -> None:
    tried = startup_summary(Stack(tmp_path, 2, ports=PORTS)).partition("Try, in another terminal:\n")[2]
    words = [line.split()[1:] for line in tried.splitlines() if "/parley " in line]
    of_users = [["demo"], ["register", "alice"], ["register", "bob"], ["chat", "bob", "--as", "alice"]]
    credential = min(str(tmp_path), os.path.relpath(tmp_path), key=len) + "/secrets/service-credential"
    assert words == [*of_users, ["admin", "servers", "--credential", credential]]


def test_guide_names_a_non_default_door(tmp_path: Path) -> None:
    assert "parley demo --door 127.0.0.1:9080\n" in startup_summary(Stack(tmp_path, 1, ports=Ports(9080, 8090, 5100)))


def test_guide_names_a_non_default_etcd(tmp_path: Path) -> None:
    assert "parley admin servers --etcd 127.0.0.1:7183 " in startup_summary(
        Stack(tmp_path, 1, ports=Ports(8080, 8090, 7000))
    )


def test_guide_without_chat_servers_omits_demo(tmp_path: Path) -> None:
    text = startup_summary(Stack(tmp_path, 0, ports=PORTS))
    assert "parley demo" not in text
    assert "there are no chat servers" in text


def test_second_stack_on_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path),
        pytest.raises(SetupError, match=r"already runs on .* \(process \d+\)"),
        lock_folder(tmp_path),
    ):
        pass
    with lock_folder(tmp_path):
        pass


def test_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown process: postgres"):
        Stack(tmp_path, only=["postgres"])


def test_folder_that_is_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(SetupError, match=f"Cannot use the folder {folder}: .*--folder"), lock_folder(folder):
            pass
