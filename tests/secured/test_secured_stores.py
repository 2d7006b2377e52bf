"""Stores with TLS and users: a system works with the documented rights alone, and a refusal names the wrong setting."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from devstack.services import CHAT, MEDIA, NOTIFY, PRESENCE, with_replicas
from devstack.stack import Stack
from media_service.settings import S3Settings
from media_service.storage.s3 import S3ObjectStore
from servicekit import mongo
from servicekit.clock import SystemClock
from servicekit.config import ConfigurationError
from servicekit.etcd import Etcd, EtcdRefused, User
from servicekit.etcd_client import tls_of
from servicekit.redis import check_redis, connect_redis
from servicekit.settings import EtcdSettings
from tests.eventually import eventually
from tests.push_servers.authority import Authority
from tests.raw.device import RawDevice, text
from tests.raw.media import RawMedia
from tests.raw.presence import ONLINE, show, wait_present, watch
from tests.raw.pushes import Pushes
from tests.raw.world import World
from tests.secured.stores import SERVICES, SecuredStores

pytestmark = pytest.mark.scenario

WRONG = "another-password"
# What a service logs if a store refuses a command.
REFUSALS = ("not authorized", "permission denied", "NOPERM", "no permissions", "AccessDenied", "store unavailable")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that has signed no certificate of the stores."""
    return Authority(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def secured_stack(stores: SecuredStores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a system on the secured stores, each service as its own user."""
    services = with_replicas(with_replicas((CHAT, MEDIA, PRESENCE, NOTIFY), "presence", 1), "notify", 1)
    names = {"chat": ("chat-1", "chat-2"), **{name: (f"{name}-1",) for name in SERVICES[1:]}}
    environment_of = {replica: stores.environment(name) for name, replicas in names.items() for replica in replicas}
    stack = Stack(
        tmp_path_factory.mktemp("system"),
        2,
        services=services,
        stores=stores.addresses,
        environment={"PARLEY_DRAIN_SECONDS": "0"},
        environment_of=environment_of,
    )
    with stack:
        yield stack


@pytest.fixture
async def root(stores: SecuredStores) -> AsyncIterator[Redis]:
    """Yield a client of Redis with all rights."""
    client = connect_redis(stores.redis_url("root"))
    yield client
    await client.aclose()


async def test_system_works_with_the_documented_rights_alone(
    stores: SecuredStores, secured_stack: Stack, root: Any
) -> None:
    async with World(secured_stack) as world, Pushes(world, root) as pushes:
        alice, bob, carol = [await world.register(name) for name in ("alice", "bob", "carol")]
        await show(bob)
        await pushes.register(carol)
        await alice.connect()
        await bob.connect()
        await wait_present(bob)
        assert await watch(alice, bob) == {bob.user_id: ONLINE}
        group = await alice.group("Friday", [bob, carol])
        await send_file(world, alice, group)
        seq = await alice.sent(group, "see you at 8")
        await bob.has_all(group, seq)
        await bob.receipt(group, read=seq)
        await eventually(lambda: ("message", seq) in pushes.kinds(carol), 20)
    assert await root.acl_log() == []
    logs = {path.name: path.read_text() for path in (secured_stack.layout.folder / "logs").glob("*-*.log")}
    assert {f"{name}-1.log" for name in SERVICES} <= logs.keys()
    found = [(name, words) for name, log in logs.items() for words in (*REFUSALS, "password-of") if words in log]
    assert found == []


async def send_file(world: World, device: RawDevice, conversation_id: str) -> None:
    """Upload a file by a stream and one in parts, send them, and download one."""
    files = RawMedia(device, world.channel(world.stack.door))
    for media in (await files.upload(b"a" * 1000), await files.upload_parts(b"b" * 1000)):
        content = text("")
        content.media.media_id = media.media_id
        await device.sent(conversation_id, content)
    assert (await files.download(media.media_id)).data == b"b" * 1000
    await files.close()


async def test_service_cannot_read_what_belongs_to_another(stores: SecuredStores) -> None:
    media = await mongo.connect(stores.mongo_uri("media"), "parley")
    with pytest.raises(OperationFailure, match="not authorized"):
        await media["entries"].find_one()
    await media.client.close()
    presence = connect_redis(stores.redis_url("presence"))
    for command in (("GET", "parley:{00}:generation"), ("FLUSHALL",), ("KEYS", "*"), ("PUBLISH", "elsewhere", "")):
        with pytest.raises(NoPermissionError):
            await presence.execute_command(*command)  # type: ignore[no-untyped-call]
    await presence.aclose()
    async with Etcd.from_settings(etcd_settings(stores)) as etcd:
        with pytest.raises(EtcdRefused, match="may not read and write the keys under /parley/"):
            await etcd.put_if_unchanged("/elsewhere", None, b"", 0)


async def test_forgotten_token_of_etcd_is_replaced(stores: SecuredStores) -> None:
    async with Etcd.from_settings(etcd_settings(stores)) as etcd:
        lease = await etcd.grant(10)
        etcd._client.set_token("forgotten")
        assert await etcd.put_if_unchanged("/parley/test", None, b"1", lease)
        etcd._client.set_token("forgotten")
        assert await anext(aiter(etcd.watch_prefix("/parley/test"))) is not None
        await etcd.revoke(lease)


async def test_sign_in_outlasts_requests_that_gave_up(stores: SecuredStores) -> None:
    # A check of the password takes etcd longer than this: each request that begins the sign-in gives up.
    user = User("parley", "password-of-parley")
    tls = tls_of(etcd_settings(stores))
    async with Etcd([stores.etcd_endpoint], tls=tls, user=user, timeout=0.02) as etcd:
        async with asyncio.timeout(30):
            await etcd.wait_reachable()


def etcd_settings(stores: SecuredStores, **overrides: Any) -> EtcdSettings:
    """Return the settings of etcd; `overrides` take precedence."""
    settings: dict[str, Any] = {
        "etcd_endpoints": (stores.etcd_endpoint,),
        "etcd_ca_file": stores.authority.ca_file,
        "etcd_certificate_file": stores.certificate,
        "etcd_key_file": stores.key,
        "etcd_user": "parley",
        "etcd_password": SecretStr("password-of-parley"),
    }
    return EtcdSettings(**(settings | overrides))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"etcd_password": SecretStr(WRONG)}, "etcd knows no such PARLEY_ETCD_USER with this PARLEY_ETCD_PASSWORD"),
        ({"etcd_user": None, "etcd_password": None}, "PARLEY_ETCD_USER may not read and write the keys under /parley/"),
        ({"etcd_ca_file": "other"}, "no authority in PARLEY_ETCD_CA_FILE has signed the certificate of etcd"),
        ({"etcd_certificate_file": None, "etcd_key_file": None}, "etcd requires a certificate in PARLEY_ETCD_CERTIF"),
    ],
    ids=["password", "no user", "authority", "no certificate"],
)
async def test_refusal_of_etcd_names_the_setting(
    stores: SecuredStores, other: Authority, wrong: dict[str, Any], sentence: str
) -> None:
    overrides = {name: other.ca_file if value == "other" else value for name, value in wrong.items()}
    async with Etcd.from_settings(etcd_settings(stores, **overrides)) as etcd:
        with pytest.raises(ConfigurationError, match=sentence) as refusal:
            await etcd.wait_reachable()
    assert WRONG not in str(refusal.value)


async def test_refusal_of_redis_names_the_setting(stores: SecuredStores, other: Authority, tmp_path: Path) -> None:
    sentences = {
        stores.redis_url("chat", WRONG): "Redis refuses the user or the password in PARLEY_REDIS_URL.",
        stores.redis_url("chat", authority=other.ca_file): "The certificate of Redis is refused: self-signed",
        stores.redis_url("chat", authority=tmp_path / "none"): "A file that PARLEY_REDIS_URL names cannot be read: No ",
    }
    for url, sentence in sentences.items():
        client = connect_redis(url)
        with pytest.raises(ConfigurationError, match=sentence) as refusal:
            await check_redis(client)
        assert WRONG not in str(refusal.value)
        await client.aclose()


async def test_refusal_of_s3_names_the_setting(stores: SecuredStores, other: Authority) -> None:
    settings = S3Settings(
        s3_url=stores.environment("media")["PARLEY_S3_URL"],
        s3_access_key=stores.s3_keys.access_key,
        s3_secret_key=SecretStr(stores.s3_keys.secret_key),
        s3_ca_file=stores.authority.ca_file,
    )
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"s3_ca_file": other.ca_file}, "is refused: .* PARLEY_S3_CA_FILE names its authority"),
        ({"s3_secret_key": SecretStr(WRONG)}, "refuses to list the bucket media .* Check the settings PARLEY_S3_"),
    ]
    for overrides, sentence in wrong:
        store = S3ObjectStore(settings.model_copy(update=overrides), SystemClock())
        with pytest.raises(ConfigurationError, match=sentence) as refusal:
            await store.prepare()
        assert WRONG not in str(refusal.value)
        await store.close()


async def test_refusal_of_mongodb_names_the_setting(stores: SecuredStores, other: Authority, tmp_path: Path) -> None:
    sentences = {
        stores.mongo_uri("chat", WRONG): "MongoDB refuses the user or the password in PARLEY_MONGO_URI.",
        stores.mongo_uri("chat", authority=other.ca_file): "refused: self-signed .* its authority by tlsCAFile",
        stores.mongo_uri("chat", authority=tmp_path / "none"): "The MongoDB URI is invalid: .*tlscafile",
    }
    for uri, sentence in sentences.items():
        with pytest.raises(ConfigurationError, match=sentence) as refusal:
            await mongo.connect(uri, "parley", timeout_s=1.0)
        assert WRONG not in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("PARLEY_MONGO_URI", "MongoDB refuses createIndexes of notify_tokens to the user in PARLEY_MONGO_URI; docs/"),
        ("PARLEY_ETCD_PASSWORD", "The server cannot use etcd: etcd knows no such PARLEY_ETCD_USER with this PARLEY_"),
    ],
)
def test_service_that_a_store_refuses_ends_with_a_sentence(
    stores: SecuredStores, secured_stack: Stack, setting: str, sentence: str
) -> None:
    [replica] = secured_stack.replicas("notify")
    wrong = {"PARLEY_MONGO_URI": stores.mongo_uri("presence"), "PARLEY_ETCD_PASSWORD": WRONG}
    environment = {**replica.spec.environment, setting: wrong[setting], "PARLEY_METRICS_LISTEN": ""}
    ended = subprocess.run(
        [sys.executable, "-m", "notify_service"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(sentence)
    assert not [words for words in ("Traceback", "password-of", WRONG) if words in ended.stderr]
