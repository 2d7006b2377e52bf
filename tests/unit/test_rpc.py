"""A service is complete: every method is either served or declared as not yet served."""

from collections.abc import Set

import grpc
import pytest

from parley.chat.v1 import account_pb2, conversation_pb2
from servicekit import validation
from servicekit.failure import Failure
from servicekit.rpc import Call, service_handler

SERVICE = account_pb2.DESCRIPTOR.services_by_name["AccountService"]
NAMES = {method.name for method in SERVICE.methods}


class ProfileServicer:
    async def GetProfile(self, request: account_pb2.GetProfileRequest, call: Call) -> bytes:
        return b""


def build_handler(not_yet_served: Set[str], open_methods: Set[str] = frozenset()) -> grpc.GenericRpcHandler:
    return service_handler(
        SERVICE,
        ProfileServicer(),
        authenticate=lambda metadata: None,
        not_yet_served=not_yet_served,
        open_methods=open_methods,
    )


def test_complete_service_is_built() -> None:
    assert build_handler(NAMES - {"GetProfile"}) is not None


@pytest.mark.parametrize(
    ("not_yet_served", "open_methods", "complaint"),
    [
        (NAMES - {"GetProfile", "Login"}, set(), "neither served .*Login"),
        (NAMES, set(), "both served .*GetProfile"),
        ((NAMES - {"GetProfile"}) | {"Fly"}, set(), "not in the service: Fly"),
        (NAMES - {"GetProfile"}, {"Swim"}, "not in the service: Swim"),
    ],
)
def test_missing_or_overlapping_method_is_named(
    not_yet_served: set[str], open_methods: set[str], complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        build_handler(not_yet_served, open_methods)


def test_unauthenticated_call_has_no_caller() -> None:
    with pytest.raises(Failure) as refused:
        _ = Call(None, {}, "here").caller
    assert refused.value.reason == "TOKEN_MISSING"


def test_malformed_bytes_are_unparsable() -> None:
    with pytest.raises(Failure) as refused:
        validation.parse(account_pb2.LoginRequest, b"\xff\xff")
    assert (refused.value.code, refused.value.reason) == ("INVALID_ARGUMENT", "FRAME_UNPARSABLE")


def test_every_violation_names_its_field_path() -> None:
    request = conversation_pb2.AddMembersRequest(conversation_id="x", member_ids=["a" * 32, "not an id"])
    with pytest.raises(Failure) as refused:
        validation.check(request)
    assert refused.value.reason == "FIELD_INVALID"
    assert {each.field for each in refused.value.violations} >= {"conversation_id", "member_ids[1]"}
    assert all(each.description for each in refused.value.violations)
