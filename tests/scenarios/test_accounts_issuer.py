"""An external issuer signs users in, and Parley provisions their accounts on the first call."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from devstack.issuer import Issuer
from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import account_pb2, conversation_pb2
from tests.raw import calls
from tests.raw.device import RawDevice, new_id

pytestmark = pytest.mark.scenario

NAME, AUDIENCE = "https://issuer.example/", "chat"
OUT = "UNAUTHENTICATED"


@dataclass
class Signing:
    """An issuer with a key of each supported algorithm."""

    ec_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    rsa_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def jwks(self) -> dict[str, Any]:
        """Return the public keys as a JWKS."""
        ec_jwk = jwt.algorithms.ECAlgorithm.to_jwk(self.ec_key.public_key(), as_dict=True)
        rsa_jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa_key.public_key(), as_dict=True)
        return {"keys": [{**ec_jwk, "kid": "e", "alg": "ES256"}, {**rsa_jwk, "kid": "r", "alg": "RS256"}]}

    def token(self, subject: str, algorithm: str = "ES256", **claims: Any) -> str:
        """Return a token of a user, for a new device unless `claims` name one."""
        fixed = {"iss": NAME, "aud": AUDIENCE, "sub": subject, "sid": subject, "exp": int(time.time()) + 600}
        key, kid = (self.ec_key, "e") if algorithm == "ES256" else (self.rsa_key, "r")
        return jwt.encode(fixed | claims, key, algorithm=algorithm, headers={"kid": kid})


@dataclass
class IssuerEnvironment:
    """A running system, its issuer, and the devices of a test."""

    stack: Stack
    issuer: Signing
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    devices: list[RawDevice] = field(default_factory=list)

    def channel(self, address: str) -> grpc.aio.Channel:
        if address not in self.channels:
            self.channels[address] = grpc.aio.insecure_channel(address)
        return self.channels[address]

    async def sign_in(self, token: str) -> RawDevice:
        """Return the device of a token after its first call was answered."""
        device = RawDevice("", "", token, self.stack.door, self.channel)
        device.user_id = (await device.call(account_pb2.GetProfileRequest())).profile.user_id
        self.devices.append(device)
        return device

    async def leave(self) -> None:
        for device in self.devices:
            await device.close()
        for channel in self.channels.values():
            await channel.close()


@pytest.fixture(scope="module")
def signing() -> Signing:
    return Signing()


@pytest.fixture(scope="module")
def issuer_stack(tmp_path_factory: pytest.TempPathFactory, signing: Signing) -> Iterator[Stack]:
    """A system whose users are signed in by an external issuer."""
    folder: Path = tmp_path_factory.mktemp("issuer")
    jwks = folder / "issuer.json"
    jwks.write_text(json.dumps(signing.jwks))
    with Stack(folder / "stack", chat_servers=2, services=(CHAT,), issuer=Issuer(NAME, AUDIENCE, jwks)) as stack:
        yield stack


@pytest.fixture
async def environment(issuer_stack: Stack, signing: Signing) -> AsyncIterator[IssuerEnvironment]:
    environment = IssuerEnvironment(issuer_stack, signing)
    yield environment
    await environment.leave()


def someone(name: str) -> str:
    return f"{name}|{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_users_without_accounts_are_provisioned_and_talk(environment: IssuerEnvironment, algorithm: str) -> None:
    subject = someone("alice")
    alice = await environment.sign_in(environment.issuer.token(subject, algorithm, name="Alice Smith"))
    bob = await environment.sign_in(environment.issuer.token(someone("bob"), algorithm))
    profile = (await bob.call(account_pb2.GetProfileRequest(user_id=alice.user_id))).profile
    assert (profile.display_name, profile.login_name) == ("Alice Smith", alice.user_id)
    assert alice.user_id == uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, NAME), subject).hex
    conversation = await alice.direct(bob)
    for each in (alice, bob):
        await each.connect()
    await alice.sent(conversation, "hello")
    await bob.has(conversation, "hello")
    group = await bob.group("Friday", [alice])
    await bob.sent(group, "hello all")
    await alice.has(group, "hello all")


async def test_user_is_found_by_preferred_username(environment: IssuerEnvironment) -> None:
    name = f"carol.{uuid.uuid4().hex[:8]}"
    carol = await environment.sign_in(environment.issuer.token(someone("carol"), preferred_username=name.upper()))
    found = (await carol.call(account_pb2.SearchUsersRequest(query=name))).profiles
    assert [(each.user_id, each.login_name, each.display_name) for each in found] == [(carol.user_id, name, name)]


async def test_unprovisioned_user_is_not_found(environment: IssuerEnvironment) -> None:
    alice = await environment.sign_in(environment.issuer.token(someone("alice")))
    unknown = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, NAME), someone("bob")).hex
    for request in (
        account_pb2.GetProfileRequest(user_id=unknown),
        conversation_pb2.GetOrCreateDirectRequest(peer_id=unknown),
        conversation_pb2.CreateGroupRequest(request_id=new_id(), title="Friday", member_ids=[unknown]),
    ):
        assert (await alice.refusal(request)).code_and_reason == ("NOT_FOUND", "USER_NOT_FOUND")


async def test_password_calls_are_disabled_with_external_issuer(environment: IssuerEnvironment) -> None:
    door = environment.channel(environment.stack.door)
    alice = await environment.sign_in(environment.issuer.token(someone("alice")))
    for request in (
        account_pb2.RegisterRequest(login_name="alice", password="correct horse"),
        account_pb2.LoginRequest(login_name="alice", password="correct horse"),
        account_pb2.RefreshTokenRequest(refresh_token="x"),
    ):
        assert (await calls.refused(door, request)).code_and_reason == ("PERMISSION_DENIED", "DISABLED")
    change = account_pb2.ChangePasswordRequest(old_password="correct horse", new_password="battery staple")
    assert (await alice.refusal(change)).code_and_reason == ("PERMISSION_DENIED", "DISABLED")


async def test_devices_of_issuer_users_are_listed_and_revoked(environment: IssuerEnvironment) -> None:
    subject = someone("alice")
    phone = await environment.sign_in(environment.issuer.token(subject, sid="phone"))
    laptop = await environment.sign_in(environment.issuer.token(subject, did="laptop"))
    for device in (phone, laptop):
        await device.connect()
    listed = (await phone.call(account_pb2.ListDevicesRequest())).devices
    assert len(listed) == 2
    [other] = [each.device_id for each in listed if not each.current]
    await phone.call(account_pb2.RevokeDeviceRequest(device_id=other))
    assert (await laptop.stream.wait_ended()).code_and_reason == (OUT, "DEVICE_REVOKED")
    assert (await laptop.refusal(account_pb2.GetProfileRequest())).code_and_reason == (OUT, "DEVICE_REVOKED")
    await phone.call(account_pb2.LogoutRequest())
    assert (await phone.refusal(account_pb2.GetProfileRequest())).code_and_reason == (OUT, "DEVICE_REVOKED")
    again = await environment.sign_in(environment.issuer.token(subject, sid="another sign-in"))
    assert again.user_id == phone.user_id


async def test_tokens_of_untrusted_issuers_are_refused(environment: IssuerEnvironment) -> None:
    stranger, server = Signing(), environment.stack.chat_servers[0].address
    nobody = RawDevice("", "", "", environment.stack.door, environment.channel)
    for token in (
        stranger.token("alice"),
        stranger.token("alice", "RS256"),
        environment.issuer.token("alice", iss="https://another.example/"),
        environment.issuer.token(""),
        environment.issuer.token("alice", sid=7),
    ):
        nobody.token = token
        for where in (environment.stack.door, server):
            assert (await nobody.refusal(account_pb2.GetProfileRequest(), at=where)).code == OUT
    nobody.token = environment.issuer.token("alice", aud="mail")
    assert (await nobody.refusal(account_pb2.GetProfileRequest(), at=server)).code_and_reason == (
        OUT,
        "TOKEN_WRONG_AUDIENCE",
    )
