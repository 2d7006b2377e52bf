"""A service is complete: its servicer has every method."""

from collections.abc import Set

import grpc
import pytest

from parley.chat.v1 import account_pb2, conversation_pb2
from servicekit import validation
from servicekit.failure import Failure
from servicekit.rpc import Call, service_handler
from tests.servicers import PartialServicer

SERVICE = account_pb2.DESCRIPTOR.services_by_name["AccountService"]


class ProfileServicer:
    async def GetProfile(self, request: account_pb2.GetProfileRequest, call: Call) -> bytes:
        return b""


def build_handler(servicer: object, open_methods: Set[str] = frozenset()) -> grpc.GenericRpcHandler:
    return service_handler(SERVICE, servicer, authenticate=lambda metadata: None, open_methods=open_methods)


def test_complete_service_is_built() -> None:
    assert build_handler(PartialServicer(), {"Login"}) is not None


def test_missing_methods_are_named() -> None:
    with pytest.raises(TypeError, match=r"AccountService: not served: .*Login") as refused:
        build_handler(ProfileServicer())
    assert "GetProfile" not in str(refused.value)


def test_method_that_is_not_async_is_named() -> None:
    class SynchronousServicer(PartialServicer):
        def GetProfile(self, request: account_pb2.GetProfileRequest, call: Call) -> bytes:
            return b""

    with pytest.raises(TypeError, match=r"AccountService: not async: GetProfile$"):
        build_handler(SynchronousServicer())


def test_unknown_open_method_is_named() -> None:
    with pytest.raises(TypeError, match="not in the service: Swim"):
        build_handler(PartialServicer(), {"Login", "Swim"})


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
