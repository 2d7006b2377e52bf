"""Settings are read from the environment, hide their secrets, and report mistakes in sentences."""

from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import SecretStr, ValidationError, model_validator

from servicekit.config import (
    Address,
    Addresses,
    ConfigurationError,
    MediaTypes,
    Settings,
    describe_settings,
    read_file,
    split_address,
)
from servicekit.etcd import User
from servicekit.redis import UvloopSafeTlsConnection, connect_redis
from servicekit.settings import EtcdSettings


class Example(Settings):
    listen: Address
    etcd_endpoints: Addresses
    mongo_uri: SecretStr
    workers: int = 2
    media_types: MediaTypes = ()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_LISTEN", "127.0.0.1:5101")
    monkeypatch.setenv("PARLEY_ETCD_ENDPOINTS", "etcd-0:2379, etcd-1:2379,")
    monkeypatch.setenv("PARLEY_MONGO_URI", "mongodb://u:hidden@m")


def test_settings_are_read_from_environment_and_frozen() -> None:
    settings = Example.load()
    assert settings.etcd_endpoints == ("etcd-0:2379", "etcd-1:2379")
    assert settings.workers == 2
    with pytest.raises(ValidationError):
        settings.workers = 3


def test_settings_are_described_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_MEDIA_TYPES", "image/*")
    assert describe_settings(Example.load()) == {
        "PARLEY_ETCD_ENDPOINTS": "etcd-0:2379,etcd-1:2379",
        "PARLEY_LISTEN": "127.0.0.1:5101",
        "PARLEY_MEDIA_TYPES": "image/*",
        "PARLEY_WORKERS": "2",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("image/*", ("image/*",)),
        (
            "Image/PNG, application/vnd.ms-excel,image/svg+xml",
            ("image/png", "application/vnd.ms-excel", "image/svg+xml"),
        ),
    ],
)
def test_media_types_are_read_from_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PARLEY_MEDIA_TYPES", value)
    assert Example.load().media_types == expected


@pytest.mark.parametrize("value", ["image", "*/*", "image/", "/png", "image/png;q=1", "image/p*", "image png/x", "[]"])
def test_malformed_media_types_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PARLEY_MEDIA_TYPES", value)
    with pytest.raises(ConfigurationError, match="PARLEY_MEDIA_TYPES is wrong: must name media types"):
        Example.load()


def test_repr_hides_secrets() -> None:
    assert "hidden" not in repr(Example.load())


def test_every_mistake_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_LISTEN", "5101")
    monkeypatch.setenv("PARLEY_ETCD_ENDPOINTS", ",")
    monkeypatch.setenv("PARLEY_WORKERS", "many")
    monkeypatch.delenv("PARLEY_MONGO_URI")
    with pytest.raises(ConfigurationError) as mistakes:
        Example.load()
    text = str(mistakes.value)
    assert "PARLEY_LISTEN is wrong: must be host:port" in text
    assert "PARLEY_ETCD_ENDPOINTS is wrong: must name at least one" in text
    assert "PARLEY_WORKERS is wrong: must be a valid integer." in text
    assert "PARLEY_MONGO_URI is not set." in text
    assert "hidden" not in text


class Pair(Settings):
    key: str = ""
    key_id: str = ""

    @model_validator(mode="after")
    def check_parts(self) -> Self:
        if self.key and not self.key_id:
            raise ValueError("PARLEY_KEY needs PARLEY_KEY_ID")
        return self


def test_mistake_of_several_settings_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_KEY", "a")
    with pytest.raises(ConfigurationError) as mistake:
        Pair.load()
    assert str(mistake.value) == "The settings are wrong: PARLEY_KEY needs PARLEY_KEY_ID."


@pytest.mark.parametrize("address", ["", "host", ":1", "host:", "host:x", "host:65536", "host:-1", "host:١"])
def test_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        split_address(address)


def test_address_is_split_into_host_and_port() -> None:
    assert split_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_address("[::1]:0") == ("::1", 0)


def test_missing_or_malformed_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot read a number from .*: No such file"):
        read_file(tmp_path / "none", int, "a number")
    (tmp_path / "word").write_text("word")
    with pytest.raises(ConfigurationError, match="word is not a number"):
        read_file(tmp_path / "word", int, "a number")


@pytest.mark.parametrize("url", ["localhost:6379", "redis://:hid/den@cache:6379", "redis://cache?socket_timeout=hid"])
def test_invalid_redis_url_is_a_mistake_that_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="The Redis URL is invalid") as mistake:
        connect_redis(url)
    assert "hid" not in str(mistake.value)


@pytest.mark.parametrize("nodes", ["a:6379,", "a:6379,:6380", "a:6379,b:hid", "a:6379,b/1"])
async def test_invalid_url_of_a_cluster_is_a_mistake_that_shows_no_password(nodes: str) -> None:
    with pytest.raises(ConfigurationError, match="The Redis URL is invalid") as mistake:
        connect_redis(f"redis://user:hidden@{nodes}", cluster=True)
    assert "hid" not in str(mistake.value)


async def test_url_of_a_cluster_names_several_nodes() -> None:
    cluster: Any = connect_redis("rediss://user:word@a:1,b,c:3/0?ssl_ca_certs=/ca.pem", cluster=True)
    assert {(node.host, node.port) for node in cluster.startup_nodes} == {("a", 1), ("b", 6379), ("c", 3)}
    for node in cluster.startup_nodes:
        assert node.connection_class is UvloopSafeTlsConnection
        assert node.connection_kwargs["password"] == "word"


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"etcd_certificate_file": "c"}, "PARLEY_ETCD_CERTIFICATE_FILE and PARLEY_ETCD_KEY_FILE must be set together"),
        ({"etcd_certificate_file": "c", "etcd_key_file": "k"}, "PARLEY_ETCD_CERTIFICATE_FILE needs PARLEY_ETCD_CA_FIL"),
        ({"etcd_user": "parley"}, "PARLEY_ETCD_USER and PARLEY_ETCD_PASSWORD must be set together"),
    ],
)
def test_settings_of_etcd_that_lack_a_part_are_refused(settings: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ConfigurationError, match=mistake):
        EtcdSettings.load(etcd_endpoints=("etcd:2379",), **settings)


def test_password_of_etcd_is_in_no_text() -> None:
    settings = EtcdSettings.load(etcd_endpoints=("etcd:2379",), etcd_user="parley", etcd_password="hidden")
    assert "hidden" not in f"{settings} {User('parley', 'hidden')}"
