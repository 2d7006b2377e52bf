"""Envoy's configuration: the rendered template and the list of chat servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.contract import services_in, streaming_paths
from devstack.envoy_config import EnvoyConfig, endpoint_assignment
from devstack.envoy_template import render_configuration
from devstack.errors import SetupError
from devstack.issuer import local_issuer
from devstack.ports import Ports
from devstack.services import CHAT, SERVICES, ServiceType
from devstack.tracing import Tracing
from parley.presence.v1 import presence_pb2
from tests.raw.calls import services

VALUES = {
    "DOOR_ADDRESS": "127.0.0.1",
    "DOOR_PORT": 8080,
    "MEDIA_ADDRESS": "127.0.0.2",
    "MEDIA_PORT": 8090,
    "S3_HOST": "s3.example",
    "S3_PORT": 8333,
    "S3_BUCKET": "media",
    "TRUSTED_HOPS": 0,
    "MAX_CONNECTIONS": 20_000,
    "MAX_HEAP_BYTES": 1 << 31,
    "ADMIN_PORT": 5175,
    "ISSUER": "https://issuer.example",
    "AUDIENCE": "chat",
    "JWKS_FILE": "/s/jwks.json",
    "ENDPOINTS_FOLDER": "/e",
    "ACCESS_LOG": "/l/calls.log",
}


# A service without a home hint that serves a part of the contract, and one open method.
PRESENCE = ServiceType(
    "presence",
    "presence",
    "a presence server",
    services_in(presence_pb2),
    open_methods=("/parley.presence.v1.PresenceService/GetPresence",),
)
TABLE = (CHAT, PRESENCE)


@pytest.fixture(scope="module")
def configuration() -> Any:
    return yaml.safe_load(render_configuration(VALUES, TABLE))


@pytest.fixture(scope="module")
def connections(configuration: Any) -> Any:
    return configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][-1]["typed_config"]


@pytest.fixture(scope="module")
def routes(connections: Any) -> list[Any]:
    return list(connections["route_config"]["virtual_hosts"][0]["routes"])


def test_rendering_is_deterministic_and_follows_the_table() -> None:
    assert render_configuration(VALUES, TABLE) == render_configuration(dict(reversed(VALUES.items())), TABLE)
    assert render_configuration(VALUES, TABLE) != render_configuration(VALUES, (CHAT,))


def test_missing_template_value_is_refused() -> None:
    for name in VALUES:
        with pytest.raises(KeyError, match=name):
            render_configuration({other: value for other, value in VALUES.items() if other != name}, SERVICES)


def test_table_without_chat_is_refused() -> None:
    with pytest.raises(SetupError, match="needs chat"):
        render_configuration(VALUES, (PRESENCE,))


def test_values_are_rendered_into_the_template(configuration: Any) -> None:
    listener, cluster = (configuration["static_resources"][kind][0] for kind in ("listeners", "clusters"))
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}
    assert configuration["admin"]["address"]["socket_address"]["port_value"] == 5175
    assert cluster["eds_cluster_config"]["eds_config"]["path_config_source"]["path"] == "/e/chat.yaml"


def test_each_service_has_a_cluster(configuration: Any) -> None:
    chat, presence, _ = configuration["static_resources"]["clusters"]
    paths = [each.pop("eds_cluster_config")["eds_config"]["path_config_source"] for each in (chat, presence)]
    assert [path["path"] for path in paths] == ["/e/chat.yaml", "/e/presence.yaml"]
    assert [path["watched_directory"] for path in paths] == [{"path": "/e"}] * 2
    assert (chat.pop("name"), presence.pop("name")) == ("chat", "presence")
    assert chat == presence


def test_traces_are_recorded_only_if_they_have_a_receiver(connections: Any) -> None:
    tracing = Tracing("http://collector.example", 0.25)
    traced = yaml.safe_load(render_configuration({**VALUES, **tracing.envoy_values}, TABLE, traces=True))
    settings = traced["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][-1]["typed_config"]["tracing"]
    assert settings["random_sampling"] == {"value": 25.0}
    assert settings["client_sampling"] == {"value": 0}
    receiver = settings["provider"]["typed_config"]["http_service"]["http_uri"]
    assert receiver["uri"] == "http://collector.example:4318/v1/traces"
    assert traced["static_resources"]["clusters"][-1]["name"] == receiver["cluster"]
    assert "tracing" not in connections


def test_no_trace_context_of_a_client_comes_through(connections: Any) -> None:
    [mutation] = connections["early_header_mutation_extensions"]
    removed = {each["remove"] for each in mutation["typed_config"]["mutations"]}
    assert removed == {"traceparent", "tracestate", "baggage"}


@pytest.mark.parametrize(
    "endpoint", ["collector:4318", "https://collector:4318", "http://:4318", "http://c:99999", "http://c/v1/traces"]
)
def test_endpoint_that_is_no_receiver_is_refused(endpoint: str) -> None:
    with pytest.raises(SetupError, match="4318"):
        Tracing(endpoint, 1.0)


def test_each_method_has_the_route_of_its_kind(routes: list[Any]) -> None:
    assert [(route["name"], *route["match"].values(), route["route"]["cluster"]) for route in routes] == [
        ("stream", "/parley.chat.v1.ChatService/Connect", "chat"),
        ("stream", "/parley.chat.v1.ChatService/Subscribe", "chat"),
        ("stream", "/parley.chat.v1.AccountService/ExportAccount", "chat"),
        ("call", "/parley.chat.v1.", "chat"),
        ("stream", "/parley.presence.v1.PresenceService/WatchPresence", "presence"),
        ("call", "/parley.presence.v1.", "presence"),
        ("health", "/grpc.health.v1.Health/", "chat"),
        ("reflection", "/grpc.reflection.v1.ServerReflection/", "chat"),
        ("reflection-alpha", "/grpc.reflection.v1alpha.ServerReflection/", "chat"),
        ("unserved", "/", "chat"),
    ]
    assert {route["name"] for route in routes if "path" in route["match"]} == {"stream"}


def test_no_route_is_limited_to_grpc(routes: list[Any]) -> None:
    assert not [route for route in routes if "grpc" in route["match"]], (
        "a preflight request would not match a gRPC route"
    )


def test_only_streams_have_no_timeout_and_all_retry_only_unprocessed_requests(routes: list[Any]) -> None:
    routed = [route for route in routes if route["name"] != "unserved"]
    for route in routed:
        assert route["route"]["timeout"] == ("0s" if route["name"] == "stream" else "30s")
        assert route["route"]["retry_policy"]["retry_on"] == "connect-failure,refused-stream"


def test_only_routes_to_chat_take_the_home_hint(routes: list[Any]) -> None:
    hinted = {
        route["route"]["cluster"]
        for route in routes
        if "envoy.filters.http.stateful_session" in route.get("typed_per_filter_config", {})
    }
    assert hinted == {"chat"}


def test_every_stream_of_the_contract_is_recognised() -> None:
    assert set(streaming_paths(services())) == {
        "/parley.chat.v1.ChatService/Connect",
        "/parley.chat.v1.ChatService/Subscribe",
        "/parley.chat.v1.AccountService/ExportAccount",
        "/parley.presence.v1.PresenceService/WatchPresence",
        "/parley.media.v1.MediaService/Upload",
        "/parley.media.v1.MediaService/Download",
    }


def test_only_listed_calls_need_no_token(connections: Any) -> None:
    jwt = next(each for each in connections["http_filters"] if each["name"].endswith("jwt_authn"))["typed_config"]
    *open_rules, last = jwt["rules"]
    assert last == {"match": {"prefix": "/"}, "requires": {"provider_name": "parley"}}
    assert [next(iter(rule["match"].values())) for rule in open_rules] == [
        "/parley.chat.v1.AccountService/Register",
        "/parley.chat.v1.AccountService/Login",
        "/parley.chat.v1.AccountService/RefreshToken",
        "/parley.presence.v1.PresenceService/GetPresence",
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
    door = EnvoyConfig(tmp_path, Ports(1, 2, 3), SERVICES, local_issuer(tmp_path / "jwks.json"), None, tmp_path / "log")
    door.set_endpoints("chat", ["127.0.0.1:5101"])
    first = (tmp_path / "endpoints" / "chat.yaml").stat().st_ino
    door.set_endpoints("chat", [])
    assert (tmp_path / "endpoints" / "chat.yaml").stat().st_ino != first
    assert [path.name for path in (tmp_path / "endpoints").iterdir()] == ["chat.yaml"]
