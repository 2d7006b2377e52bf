"""Envoy's configuration: the rendered template and the list of chat servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.envoy_config import EnvoyConfig, endpoint_assignment, render_template
from devstack.issuer import local_issuer
from devstack.ports import Ports

VALUES = {
    "DOOR_ADDRESS": "127.0.0.1",
    "DOOR_PORT": 8080,
    "ADMIN_PORT": 5175,
    "ISSUER": "https://issuer.example",
    "AUDIENCE": "chat",
    "JWKS_FILE": "/s/jwks.json",
    "ENDPOINTS_FOLDER": "/e",
    "ACCESS_LOG": "/l/calls.log",
}


@pytest.fixture(scope="module")
def configuration() -> Any:
    return yaml.safe_load(render_template(VALUES))


@pytest.fixture(scope="module")
def connections(configuration: Any) -> Any:
    return configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][-1]["typed_config"]


def test_missing_template_value_is_refused() -> None:
    for name in VALUES:
        with pytest.raises(KeyError, match=name):
            render_template({other: value for other, value in VALUES.items() if other != name})


def test_values_are_rendered_into_the_template(configuration: Any) -> None:
    listener, cluster = (configuration["static_resources"][kind][0] for kind in ("listeners", "clusters"))
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}
    assert configuration["admin"]["address"]["socket_address"]["port_value"] == 5175
    assert cluster["eds_cluster_config"]["eds_config"]["path_config_source"]["path"] == "/e/chat.yaml"


def test_internal_services_have_no_route(connections: Any) -> None:
    routes = connections["route_config"]["virtual_hosts"][0]["routes"]
    matches = [json.dumps(route["match"]) for route in routes]
    assert any("parley.chat.v1" in match or "parley\\.chat\\.v1" in match for match in matches), matches
    assert not [match for match in matches if "internal" in match or '"/"' in match]
    assert not [route for route in routes if "grpc" in route["match"]], (
        "a preflight request would not match a gRPC route"
    )


def test_streams_have_no_timeout_and_retry_only_unprocessed_requests(connections: Any) -> None:
    stream = connections["route_config"]["virtual_hosts"][0]["routes"][0]
    assert "Connect|Subscribe" in json.dumps(stream["match"])
    assert (stream["route"]["cluster"], stream["route"]["timeout"]) == ("chat", "0s")
    assert stream["route"]["retry_policy"]["retry_on"] == "connect-failure,refused-stream"


def test_only_listed_calls_need_no_token(connections: Any) -> None:
    jwt = next(each for each in connections["http_filters"] if each["name"].endswith("jwt_authn"))["typed_config"]
    *open_rules, last = jwt["rules"]
    assert last == {"match": {"prefix": "/"}, "requires": {"provider_name": "parley"}}
    assert [next(iter(rule["match"].values())) for rule in open_rules] == [
        "/parley.chat.v1.AccountService/Register",
        "/parley.chat.v1.AccountService/Login",
        "/parley.chat.v1.AccountService/RefreshToken",
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    ]
    assert jwt["providers"]["parley"]["forward"] is True


def test_connection_window_covers_all_streams(configuration: Any, connections: Any) -> None:
    cluster = configuration["static_resources"]["clusters"][0]
    behind = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    for http2 in (connections["http2_protocol_options"], behind["explicit_http_config"]["http2_protocol_options"]):
        assert http2["initial_stream_window_size"] == 64 << 10
        assert http2["initial_connection_window_size"] >= (64 << 10) * http2["max_concurrent_streams"]


def test_endpoint_list_contains_all_chat_servers() -> None:
    assignment = json.loads(endpoint_assignment("chat", ["127.0.0.1:5101", "127.0.0.1:5102"]))["resources"][0]
    sockets = [each["endpoint"]["address"]["socket_address"] for each in assignment["endpoints"][0]["lb_endpoints"]]
    assert assignment["cluster_name"] == "chat"
    assert sockets == [{"address": "127.0.0.1", "port_value": port} for port in (5101, 5102)]


def test_endpoint_list_is_replaced_atomically(tmp_path: Path) -> None:
    door = EnvoyConfig(tmp_path, Ports(1, 1), local_issuer(tmp_path / "jwks.json"), tmp_path / "log")
    door.set_endpoints("chat", ["127.0.0.1:5101"])
    first = (tmp_path / "endpoints" / "chat.yaml").stat().st_ino
    door.set_endpoints("chat", [])
    assert (tmp_path / "endpoints" / "chat.yaml").stat().st_ino != first
    assert [path.name for path in (tmp_path / "endpoints").iterdir()] == ["chat.yaml"]
