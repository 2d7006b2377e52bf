"""The dashboard of the stores, as the servers see them: MongoDB, etcd, Redis with the change index, and S3."""

from __future__ import annotations

from typing import Final

from tools.dashboards.grafana import Dashboard, Panel, Row
from tools.dashboards.queries import per_second

STORES: Final = Dashboard(
    "parley-stores",
    "Parley stores",
    [
        Row(
            "MongoDB and etcd",
            [
                Panel(
                    "Servers that know a primary of MongoDB",
                    "short",
                    {"{{job}}": "sum by (job) (parley_store_writable)"},
                ),
                Panel(
                    "Calls repeated because a store did not answer",
                    "ops",
                    {"{{job}} {{call}}": per_second("parley_store_retries_total", "job", "call")},
                    width=16,
                ),
                Panel("Servers that reach etcd", "short", {"{{job}}": "sum by (job) (parley_etcd_reachable)"}),
                Panel("Leases lost", "ops", {"{{instance}}": per_second("parley_lease_losses_total", "instance")}),
            ],
        ),
        Row(
            "Change index in Redis",
            [
                Panel("Chat servers that reach it", "short", {"servers": 'sum(parley_index_up{job="chat"})'}),
                Panel("Chat servers that omit touches", "short", {"servers": "max(parley_index_dirty_servers)"}),
                Panel(
                    "Generation",
                    "short",
                    {"generation": 'max(parley_index_generation{job="chat"})'},
                    "Each step lets all devices read their conversations again.",
                ),
                Panel("Outages", "ops", {"{{instance}}": per_second("parley_index_outages_total", "instance")}),
                Panel("Touches", "ops", {"touches": per_second("parley_index_touches_total")}),
            ],
        ),
        Row(
            "S3",
            [
                Panel("Media servers that S3 serves", "short", {"servers": 'sum(parley_s3_up{job="media"})'}),
                Panel(
                    "Requests that failed",
                    "ops",
                    {"{{operation}}": per_second("parley_s3_failures_total", "operation")},
                ),
            ],
        ),
    ],
)
