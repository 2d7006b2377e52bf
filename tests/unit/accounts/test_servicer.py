"""AccountService serves every method of the contract and determines the client's address."""

import pytest

from chat_service.servicers.account import OPEN_METHODS, AccountServicer, client_address
from parley.chat.v1 import account_pb2
from servicekit.rpc import Call


def test_every_method_is_served() -> None:
    names = {method.name for method in account_pb2.DESCRIPTOR.services_by_name["AccountService"].methods}
    served = {name for name in names if hasattr(AccountServicer, name)}
    assert served == names
    assert served >= OPEN_METHODS


@pytest.mark.parametrize(
    ("metadata", "peer", "expected"),
    [
        ({}, "ipv4:10.0.0.7:40112", "10.0.0.7"),
        ({}, "ipv6:[2001:db8:0:1::7]:40112", "2001:db8:0:1::/64"),
        ({}, "ipv6:%5B2001:db8:0:1::7%5D:40112", "2001:db8:0:1::/64"),
        ({}, "ipv6:%5B::ffff:10.0.0.7%5D:40112", "10.0.0.7"),
        ({"x-envoy-external-address": "2001:db8:0:1:2:3:4:5"}, "ipv4:10.0.0.7:40112", "2001:db8:0:1::/64"),
        ({"x-envoy-external-address": "1.2.3.4"}, "ipv4:10.0.0.7:40112", "1.2.3.4"),
        (
            {"x-forwarded-for": "6.6.6.6, 1.2.3.4", "x-envoy-external-address": "6.6.6.6"},
            "ipv4:10.0.0.7:40112",
            "6.6.6.6",
        ),
        ({"x-forwarded-for": "6.6.6.6"}, "ipv4:10.0.0.7:40112", "10.0.0.7"),
        ({"x-envoy-external-address": ""}, "unix:", "unix:"),
    ],
)
def test_client_address_is_the_one_envoy_forwards(metadata: dict[str, str], peer: str, expected: str) -> None:
    assert client_address(Call(None, metadata, peer)) == expected
