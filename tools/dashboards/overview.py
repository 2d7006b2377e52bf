"""The dashboard that says whether users are served: service levels first, then servers, calls and each service."""

from __future__ import annotations

from typing import Final

from tools.dashboards.grafana import Dashboard, Panel, Row
from tools.dashboards.queries import per_second, quantile, share_within

# The reasons of refusals that a sender did not cause.
SERVER_FAULTS: Final = "OWNER_UNAVAILABLE|STORE_UNAVAILABLE|SERVICE_UNAVAILABLE|SERVER_BUSY|SERVER_DRAINING|INTERNAL"
_REFUSED: Final = per_second(f'parley_sends_refused_total{{reason=~"{SERVER_FAULTS}"}}')
_APPENDED: Final = per_second("parley_entries_appended_total")

SERVICE_LEVELS: Final = Row(
    "Service levels",
    [
        Panel(
            "Send → appended → delivered: share within the objective",
            "percentunit",
            {
                "sends accepted (99.9 %)": f"{_APPENDED} / ({_APPENDED} + ({_REFUSED} or vector(0)))",
                "appended within 1 s (99 %)": share_within("parley_commit_seconds", "1.0"),
                "delivered within 2 s (99 %)": share_within("parley_delivery_seconds", "2.0"),
            },
            "The objectives are in docs/runbook.md.",
            width=12,
        ),
        Panel(
            "Send → appended → delivered: time",
            "s",
            {
                "appended, p50": quantile(0.5, "parley_commit_seconds"),
                "appended, p99": quantile(0.99, "parley_commit_seconds"),
                "delivered, p50": quantile(0.5, "parley_delivery_seconds"),
                "delivered, p99": quantile(0.99, "parley_delivery_seconds"),
            },
            "Appended: from the queueing of a send at its owner to its answer. Delivered: from the start of its commit "
            "to the outboxes of the readers.",
            width=12,
        ),
    ],
)
SERVERS: Final = Row(
    "Servers",
    [
        Panel("Servers that answer", "short", {"{{job}}": "sum by (job) (up)"}),
        Panel(
            "Members of the rings",
            "short",
            {
                "{{service}}, smallest view": "min by (service) (parley_ring_members)",
                "{{service}}, largest view": "max by (service) (parley_ring_members)",
            },
        ),
        Panel(
            "Changes of the rings, at the server that saw most",
            "short",
            {"{{service}}": "max by (service) (increase(parley_ring_changes_total[$__rate_interval]))"},
        ),
        Panel(
            "Revisions behind the newest ring",
            "short",
            {
                "{{service}}": "max by (service) (parley_ring_revision) - min by (service) (parley_ring_revision)",
            },
            "Above 0 for longer than a few seconds: servers have different rings.",
        ),
        Panel(
            "Time until a certificate expires",
            "s",
            {"{{identity}}": "min by (identity) (parley_tls_certificate_expiry_timestamp_seconds) - time()"},
            "Of deployments with TLS.",
        ),
        Panel(
            "Certificates read again, and callers refused",
            "ops",
            {
                "files {{outcome}}": per_second("parley_tls_certificate_reloads_total", "outcome"),
                "callers refused": per_second("parley_tls_callers_refused_total"),
            },
        ),
        Panel("CPU", "short", {"{{job}} {{instance}}": "rate(process_cpu_seconds_total[$__rate_interval])"}),
        Panel("Memory", "bytes", {"{{job}} {{instance}}": "process_resident_memory_bytes"}),
        Panel(
            "Warnings and errors in logs",
            "ops",
            {"{{event}}": f"topk(10, {per_second('parley_log_events_total', 'event')})"},
            width=24,
        ),
    ],
)
CALLS: Final = Row(
    "Calls",
    [
        Panel(
            "Calls by status code", "ops", {"{{job}} {{code}}": per_second("parley_rpc_finished_total", "job", "code")}
        ),
        Panel(
            "Calls and streams in progress",
            "short",
            {"{{job}}": "sum by (job) (parley_rpc_started_total) - sum by (job) (parley_rpc_finished_total)"},
        ),
        Panel(
            "Duration of calls, p99 of the 10 slowest methods",
            "s",
            {"{{method}}": f"topk(10, {quantile(0.99, 'parley_rpc_seconds', 'method')})"},
            "Streams last for hours, and are among them.",
        ),
        Panel(
            "Calls between services",
            "ops",
            {"{{job}} {{method}} {{code}}": per_second("parley_outgoing_calls_total", "job", "method", "code")},
            width=12,
        ),
        Panel(
            "Duration of calls between services, p99",
            "s",
            {"{{method}}": quantile(0.99, "parley_outgoing_call_seconds", "method")},
            width=12,
        ),
    ],
)
SERVICES: Final = Row(
    "Services",
    [
        Panel("Connected devices", "short", {"devices": "sum(parley_sessions)"}),
        Panel("Entries appended", "ops", {"entries": per_second("parley_entries_appended_total")}),
        Panel("Age of the oldest event that waits to be pushed", "s", {"age": "max(parley_push_queue_oldest_seconds)"}),
    ],
)
OVERVIEW: Final = Dashboard("parley-overview", "Parley overview", [SERVICE_LEVELS, SERVERS, CALLS, SERVICES])
