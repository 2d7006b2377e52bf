"""The dashboards of the media, presence and notify servers."""

from __future__ import annotations

from typing import Final

from tools.dashboards.grafana import Dashboard, Panel, Row
from tools.dashboards.queries import per_second, quantile, quantiles

MEDIA: Final = Dashboard(
    "parley-media",
    "Parley media",
    [
        Row(
            "Files",
            [
                Panel(
                    "Uploads by outcome", "ops", {"{{outcome}}": per_second("parley_media_uploads_total", "outcome")}
                ),
                Panel(
                    "Files removed by reason",
                    "ops",
                    {"{{reason}}": per_second("parley_media_files_removed_total", "reason")},
                ),
            ],
        ),
        Row(
            "Pictures",
            [
                Panel(
                    "Pictures by outcome", "ops", {"{{outcome}}": per_second("parley_media_pictures_total", "outcome")}
                ),
                Panel("Time of a picture in a worker", "s", quantiles("parley_media_picture_seconds")),
                Panel(
                    "Workers replaced by reason",
                    "ops",
                    {"{{reason}}": per_second("parley_media_worker_restarts_total", "reason")},
                ),
            ],
        ),
    ],
)
PRESENCE: Final = Dashboard(
    "parley-presence",
    "Parley presence",
    [
        Row(
            "Reports of chat servers",
            [
                Panel(
                    "Chat servers that report",
                    "short",
                    {
                        "as chat servers see it": "sum(parley_presence_report_connected)",
                        "as presence servers see it": "sum(parley_presence_reports)",
                    },
                ),
                Panel(
                    "Reports ended",
                    "ops",
                    {"{{instance}}": per_second("parley_presence_reports_ended_total", "instance")},
                ),
                Panel(
                    "Transitions of devices", "ops", {"transitions": per_second("parley_presence_transitions_total")}
                ),
                Panel(
                    "Leases ended, and epochs begun",
                    "ops",
                    {
                        "chat servers whose lease ended": per_second("parley_presence_servers_ended_total"),
                        "epochs": "max(rate(parley_presence_epochs_total[$__rate_interval]))",
                    },
                ),
            ],
        ),
        Row(
            "Watchers",
            [
                Panel("Watches", "short", {"{{instance}}": "parley_presence_watches"}),
                Panel("Users who are watched", "short", {"{{instance}}": "parley_presence_watched_users"}),
                Panel(
                    "Presences told",
                    "ops",
                    {"{{instance}}": per_second("parley_presence_changes_told_total", "instance")},
                ),
            ],
        ),
    ],
)
PUSH: Final = Dashboard(
    "parley-push",
    "Parley push",
    [
        Row(
            "Queue",
            [
                Panel("Events that wait or are in flight", "short", {"events": "max(parley_push_queue_events)"}),
                Panel("Age of the oldest event", "s", {"age": "max(parley_push_queue_oldest_seconds)"}),
                Panel(
                    "Pushes that wait to be sent again, and dead letters",
                    "short",
                    {
                        "to be sent again": "max(parley_push_retry_jobs)",
                        "dead letters": "max(parley_push_dead_letters)",
                    },
                ),
                Panel(
                    "Events",
                    "ops",
                    {
                        "queued": per_second("parley_push_events_queued_total"),
                        "dropped": per_second("parley_push_events_dropped_total"),
                        "claimed from dead servers": per_second("parley_push_events_abandoned_total"),
                        "entries offered again": per_second("parley_push_entries_rechecked_total"),
                    },
                ),
            ],
        ),
        Row(
            "Decisions and providers",
            [
                Panel(
                    "Decisions by outcome", "ops", {"{{outcome}}": per_second("parley_push_decisions_total", "outcome")}
                ),
                Panel(
                    "Requests by provider and outcome",
                    "ops",
                    {"{{provider}} {{outcome}}": per_second("parley_push_sends_total", "provider", "outcome")},
                ),
                Panel(
                    "From the queue to the provider",
                    "s",
                    {"p95": quantile(0.95, "parley_push_delay_seconds"), **quantiles("parley_push_delay_seconds")},
                ),
                Panel("Suspended providers", "short", {"{{provider}}": "max by (provider) (parley_push_suspended)"}),
            ],
        ),
    ],
)
