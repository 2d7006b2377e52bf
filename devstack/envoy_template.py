"""The rendering of Envoy's configuration from the templates in `envoy/` and a table of services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from string import Template
from typing import Any, Final, TypeAlias

import yaml

from devstack.contract import packages_of, streaming_paths
from devstack.envoy_refusals import UNSERVED, details_header, refusal_mappers
from devstack.errors import SetupError
from devstack.services import CHAT, Services, ServiceType
from servicekit.certificates import Identity

_FOLDER: Final = Path(__file__).resolve().parent.parent / "envoy"
_TEMPLATE: Final = _FOLDER / "envoy.yaml"
_POD_TEMPLATE: Final = _FOLDER / "pod.yaml"
# A server that has started gets its first calls within this time.
DNS_REFRESH_RATE: Final = "2s"
_TOKEN_FILTER: Final = "envoy.filters.http.jwt_authn"

# The placeholders of the parts that are left out without TLS.
_NO_TLS: Final = {"SECRETS_FOLDER": "", "TRUST_DOMAIN": ""}
# And without traces.
_NO_TRACES: Final = {"OTLP_HOST": "", "OTLP_PORT": 0, "TRACE_PERCENT": 0}

Node: TypeAlias = dict[str, Any]
"""A mapping of the configuration."""


class _PlainDumper(yaml.SafeDumper):
    """A dumper that repeats a shared node instead of referring to it, and keeps the lines of a text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _represent_text)


def render_configuration(
    values: Mapping[str, object],
    services: Services,
    *,
    has_s3: bool = True,
    tls: bool = False,
    traces: bool = False,
    names: Mapping[str, tuple[str, int]] | None = None,
) -> str:
    """Return the configuration of an Envoy in front of the services, as YAML.

    `values` are those of the template's placeholders, of which those about TLS and traces are needed with `tls` and
    with `traces` alone. Without an S3 store there is no listener for presigned addresses. With `names`, host and port
    by service, Envoy runs in a pod: it finds the servers of a service by DNS, where each is an address of the host,
    reads no endpoint files, and has the listeners of `envoy/pod.yaml`. The same arguments give the same text. Raise
    KeyError if a value or name is missing, and SetupError if the table has no chat.
    """
    if CHAT.name not in {service.name for service in services}:
        raise SetupError("The table of services needs chat: Envoy routes health checks and reflection to it.")
    all_values = {**({} if tls else _NO_TLS), **({} if traces else _NO_TRACES), **values, **_unserved_answer()}
    # It is a part of a regular expression, and may have dots.
    all_values["S3_BUCKET"] = str(values["S3_BUCKET"]).replace(".", "[.]")
    configuration: Node = yaml.safe_load(_fill_template(_TEMPLATE, all_values))
    resources = configuration["static_resources"]
    cluster, s3, otlp = resources["clusters"]
    door, media = resources["listeners"]
    if not tls:
        for part in (cluster, door["filter_chains"][0], media["filter_chains"][0]):
            del part["transport_socket"]
    domain = str(values["TRUST_DOMAIN"]) if tls else None
    clusters = [_cluster(cluster, service, domain, names) for service in services]
    resources["clusters"] = [*clusters, *([s3] if has_s3 else []), *([otlp] if traces else [])]
    resources["listeners"] = [door, *([media] if has_s3 else [])]
    if names is not None:
        for kind, parts in yaml.safe_load(_fill_template(_POD_TEMPLATE, values)).items():
            resources[kind] += parts
    _complete_door(door["filter_chains"][0]["filters"][-1]["typed_config"], services, traces=traces)
    return yaml.dump(configuration, Dumper=_PlainDumper, sort_keys=False, width=120)


def _complete_door(connections: Node, services: Services, *, traces: bool) -> None:
    """Give the connection manager of the listener for calls its refusals, and the routes and rules of the services."""
    if not traces:
        del connections["tracing"]
    replies = connections["local_reply_config"]
    [mapper] = replies["mappers"]
    replies["mappers"] = refusal_mappers(mapper)
    [host] = connections["route_config"]["virtual_hosts"]
    host["routes"] = list(_routes(host["routes"], services))
    tokens = next(each for each in connections["http_filters"] if each["name"] == _TOKEN_FILTER)["typed_config"]
    tokens["rules"] = _token_rules(tokens["rules"], services)


def _fill_template(template: Path, values: Mapping[str, object]) -> str:
    lines = template.read_text().splitlines(keepends=True)
    # Comments are removed, because a `${...}` in a comment is no placeholder.
    return Template("".join(line for line in lines if not line.lstrip().startswith("#"))).substitute(values)


def _unserved_answer() -> dict[str, str]:
    return {"UNSERVED_MESSAGE": UNSERVED.message, "UNSERVED_STATUS": details_header(UNSERVED)}


def _cluster(
    pattern: Node, service: ServiceType, trust_domain: str | None, names: Mapping[str, tuple[str, int]] | None
) -> Node:
    cluster = {**deepcopy(pattern), "name": service.name}
    if trust_domain is not None:
        identity, tls = Identity(trust_domain, service.name), cluster["transport_socket"]["typed_config"]
        tls["sni"] = identity.dns_name
        validation = tls["common_tls_context"]["combined_validation_context"]["default_validation_context"]
        validation["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": identity.spiffe_id}}]
    if names is not None:
        del cluster["eds_cluster_config"]
        return {**cluster, **_found_by_dns(service.name, *names[service.name])}
    source = cluster["eds_cluster_config"]["eds_config"]["path_config_source"]
    source["path"] = f"{source['watched_directory']['path']}/{service.name}.yaml"
    return cluster


def _found_by_dns(service: str, host: str, port: int) -> Node:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
    return {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "dns_refresh_rate": DNS_REFRESH_RATE,
        "load_assignment": {"cluster_name": service, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _routes(patterns: Sequence[Node], services: Services) -> Iterator[Node]:
    """Yield the routes of the services, then the fixed ones of the template."""
    by_name = {pattern["name"]: pattern for pattern in patterns}
    stream, call = (by_name.pop(name) for name in ("stream", "call"))
    for service in services:
        # The first matching route applies.
        for path in streaming_paths(service.contract):
            yield _route_to(service, stream, {"path": path})
        for package in packages_of(service.contract):
            yield _route_to(service, call, {"prefix": f"/{package}."})
    yield from by_name.values()


def _route_to(service: ServiceType, pattern: Node, match: Node) -> Node:
    route = {**pattern, "match": match, "route": {**pattern["route"], "cluster": service.name}}
    if not service.takes_home_hint:
        del route["typed_per_filter_config"]
    return route


def _token_rules(patterns: Sequence[Node], services: Services) -> list[Node]:
    """Return a rule for each open method, then the fixed rules of the template."""
    _, *others = patterns
    return [{"match": {"path": path}} for service in services for path in service.open_methods] + others
