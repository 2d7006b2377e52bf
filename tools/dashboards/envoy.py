"""The dashboard of Envoy, from its own metrics: clients, upstream servers, and backpressure."""

from __future__ import annotations

from typing import Final

from tools.dashboards.grafana import Dashboard, Panel, Row
from tools.dashboards.queries import per_second

ENVOY: Final = Dashboard(
    "parley-envoy",
    "Parley Envoy",
    [
        Row(
            "Clients",
            [
                Panel(
                    "Connections",
                    "short",
                    {
                        "{{envoy_http_conn_manager_prefix}}": "sum by (envoy_http_conn_manager_prefix) "
                        "(envoy_http_downstream_cx_active)"
                    },
                ),
                Panel(
                    "Calls and streams in progress",
                    "short",
                    {
                        "{{envoy_http_conn_manager_prefix}}": "sum by (envoy_http_conn_manager_prefix) "
                        "(envoy_http_downstream_rq_active)"
                    },
                ),
                Panel(
                    "Answers by HTTP status class",
                    "ops",
                    {
                        "{{envoy_response_code_class}}xx": per_second(
                            'envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix="door"}',
                            "envoy_response_code_class",
                        )
                    },
                    "gRPC answers 200 whatever the status of a call; the chat dashboard and the overview show those.",
                ),
            ],
        ),
        Row(
            "Servers",
            [
                Panel(
                    "Servers that are not healthy",
                    "short",
                    {
                        "{{envoy_cluster_name}}": "sum by (envoy_cluster_name) "
                        "(envoy_cluster_membership_total - envoy_cluster_membership_healthy)"
                    },
                ),
                Panel(
                    "Calls and streams in progress",
                    "short",
                    {"{{envoy_cluster_name}}": "sum by (envoy_cluster_name) (envoy_cluster_upstream_rq_active)"},
                ),
                Panel(
                    "Connections that failed, and calls tried again",
                    "ops",
                    {
                        "failed, {{envoy_cluster_name}}": per_second(
                            "envoy_cluster_upstream_cx_connect_fail", "envoy_cluster_name"
                        ),
                        "tried again, {{envoy_cluster_name}}": per_second(
                            "envoy_cluster_upstream_rq_retry", "envoy_cluster_name"
                        ),
                    },
                ),
            ],
        ),
        Row(
            "Envoy itself",
            [
                Panel(
                    "Times at which it stopped reading, because the other side read slowly",
                    "ops",
                    {
                        "from servers, {{envoy_cluster_name}}": per_second(
                            "envoy_cluster_upstream_flow_control_paused_reading_total", "envoy_cluster_name"
                        ),
                        "from clients": per_second("envoy_http_downstream_flow_control_paused_reading_total"),
                    },
                ),
                Panel("Memory", "bytes", {"{{instance}}": "envoy_server_memory_allocated"}),
                Panel("Uptime", "s", {"{{instance}}": "envoy_server_uptime"}),
            ],
        ),
    ],
)
