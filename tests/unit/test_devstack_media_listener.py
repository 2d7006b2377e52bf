"""Envoy's listener for presigned addresses, as it is rendered."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml

from devstack.envoy_template import render_configuration
from tests.unit.test_devstack_door import TABLE, VALUES

KEYS: Final = ["a", "0190af3c-1b2c-7000-8000-000000000000", "u/0f~x_y-z.webp", "A/b/c/d"]
OTHERS: Final = [
    "/media",
    "/media/",
    "/media//a",
    "/media/a/",
    "/media/.",
    "/media/..",
    "/media/../b",
    "/media/a/..",
    "/media/.hidden",
    "/media/a%20b",
    "/mediab/a",
    "/other/a",
    "/x/media/a",
]


@pytest.fixture(scope="module")
def configuration() -> Any:
    return yaml.safe_load(render_configuration(VALUES, TABLE))["static_resources"]


@pytest.fixture(scope="module")
def connections(configuration: Any) -> Any:
    return configuration["listeners"][1]["filter_chains"][0]["filters"][-1]["typed_config"]


@pytest.fixture(scope="module")
def routes(connections: Any) -> dict[str, Any]:
    [host] = connections["route_config"]["virtual_hosts"]
    return {route["name"]: route for route in host["routes"]}


def test_values_are_rendered_into_the_template(configuration: Any) -> None:
    listener, cluster = configuration["listeners"][1], configuration["clusters"][-1]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.2", "port_value": 8090}
    [locality] = cluster["load_assignment"]["endpoints"]
    [endpoint] = locality["lb_endpoints"]
    assert cluster["name"] == "s3"
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "s3.example", "port_value": 8333}


def test_stack_without_an_s3_store_has_no_listener_for_it() -> None:
    resources = yaml.safe_load(render_configuration(VALUES, TABLE, has_s3=False))["static_resources"]
    assert [listener["name"] for listener in resources["listeners"]] == ["door"]
    assert [cluster["name"] for cluster in resources["clusters"]] == ["chat", "presence"]


def test_only_one_route_leads_to_the_store_and_the_last_refuses(routes: dict[str, Any]) -> None:
    assert list(routes) == ["preflight", "presigned", "refused"]
    assert [name for name, route in routes.items() if "route" in route] == ["presigned"]
    assert routes["presigned"]["route"] == {"cluster": "s3", "timeout": "0s"}
    assert routes["refused"]["match"] == {"prefix": "/"}
    assert routes["refused"]["direct_response"]["status"] == 403


def test_only_plain_paths_of_the_bucket_are_admitted(routes: dict[str, Any]) -> None:
    pattern = re.compile(routes["presigned"]["match"]["safe_regex"]["regex"])
    assert [key for key in KEYS if not pattern.fullmatch(f"/media/{key}")] == []
    assert [path for path in OTHERS if pattern.fullmatch(path)] == []


def test_bucket_is_the_value_of_the_template_to_the_letter() -> None:
    resources = yaml.safe_load(render_configuration({**VALUES, "S3_BUCKET": "my.files"}, TABLE))["static_resources"]
    connections = resources["listeners"][1]["filter_chains"][0]["filters"][-1]["typed_config"]
    [host] = connections["route_config"]["virtual_hosts"]
    [presigned] = [route for route in host["routes"] if route["name"] == "presigned"]
    pattern = re.compile(presigned["match"]["safe_regex"]["regex"])
    assert pattern.fullmatch("/my.files/a")
    assert not pattern.fullmatch("/my-files/a")
    assert not pattern.fullmatch("/media/a")


def test_no_filter_reads_a_token_or_changes_the_signed_path(connections: Any) -> None:
    assert [each["name"] for each in connections["http_filters"]] == ["envoy.filters.http.router"]
    assert connections["normalize_path"] is False
    assert connections["merge_slashes"] is False
    assert {"authorization", "cookie"} <= set(connections["route_config"]["request_headers_to_remove"])


def test_answers_of_envoy_have_the_headers_of_the_others(connections: Any) -> None:
    headers = connections["route_config"]["response_headers_to_add"]
    named = {each["header"]["key"]: each["header"]["value"] for each in headers}
    assert "sandbox" in named["content-security-policy"]
    assert named["x-content-type-options"] == "nosniff"
    assert all(mapper["headers_to_add"] == headers for mapper in connections["local_reply_config"]["mappers"])
    assert {each["append_action"] for each in headers} == {"OVERWRITE_IF_EXISTS_OR_ADD"}


def test_log_has_no_query(connections: Any) -> None:
    [log] = connections["access_log"]
    paths = [value for value in log["typed_config"]["log_format"]["json_format"].values() if "PATH" in value]
    assert paths == ["%PATH(NQ):256%"]
    assert log["typed_config"]["path"] == VALUES["ACCESS_LOG"]
