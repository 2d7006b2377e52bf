"""The dashboard of the chat servers: edges, owners, homes, and the mesh between them."""

from __future__ import annotations

from typing import Final

from tools.dashboards.grafana import Dashboard, Panel, Row
from tools.dashboards.queries import per_second, quantile, quantiles

EDGE: Final = Row(
    "Edge: streams of devices",
    [
        Panel("Streams", "short", {"{{instance}}": "parley_sessions"}),
        Panel(
            "Handshakes",
            "short",
            {"in progress, {{instance}}": "parley_handshakes"},
            "A server admits PARLEY_HANDSHAKES at once; others wait.",
        ),
        Panel("Devices refused", "ops", {"{{instance}}": per_second("parley_handshakes_refused_total", "instance")}),
        Panel("Rejected frames by reason", "ops", {"{{reason}}": per_second("parley_frames_rejected_total", "reason")}),
        Panel(
            "Deliveries into outboxes",
            "ops",
            {"{{instance}}": per_second("parley_session_deliveries_total", "instance")},
        ),
        Panel("Delay of deliveries", "s", quantiles("parley_delivery_seconds")),
        Panel("Bytes in outboxes", "bytes", {"{{instance}}": "parley_outbox_bytes"}),
        Panel("Elements that did not fit", "ops", {"{{job}}": per_second("parley_outbox_refused_total", "job")}),
        Panel("Slow consumers disconnected", "ops", {"{{job}}": per_second("parley_slow_consumers_total", "job")}),
    ],
)
OWNER: Final = Row(
    "Owner: appends and receipts",
    [
        Panel("Entries appended", "ops", {"{{instance}}": per_second("parley_entries_appended_total", "instance")}),
        Panel("Refused sends by reason", "ops", {"{{reason}}": per_second("parley_sends_refused_total", "reason")}),
        Panel("Conflicts with another owner", "ops", {"conflicts": per_second("parley_commit_conflicts_total")}),
        Panel("Entries of a group commit", "short", quantiles("parley_commit_entries")),
        Panel("Duration of group commits", "s", quantiles("parley_commit_seconds")),
        Panel(
            "Duration of group commits by server, p99",
            "s",
            {"{{instance}}": quantile(0.99, "parley_commit_seconds", "instance")},
        ),
        Panel("Receipts stored", "ops", {"receipts": per_second("parley_receipts_total")}),
        Panel("Duration of a batch of receipts", "s", quantiles("parley_receipt_write_seconds")),
        Panel(
            "Retention",
            "ops",
            {
                "conversations swept": per_second("parley_retention_conversations_total"),
                "entries removed, {{what}}": per_second("parley_retention_entries_total", "what"),
            },
        ),
    ],
)
FAN_OUT: Final = Row(
    "Home and fan-out",
    [
        Panel("Sessions attached", "short", {"{{instance}}": "parley_sessions_attached"}),
        Panel(
            "Deliveries published", "ops", {"{{instance}}": per_second("parley_fan_out_deliveries_total", "instance")}
        ),
        Panel(
            "Users of a delivery, mean",
            "short",
            {"users": f"{per_second('parley_fan_out_users_total')} / {per_second('parley_fan_out_deliveries_total')}"},
        ),
    ],
)
MESH: Final = Row(
    "Mesh",
    [
        Panel(
            "Streams to peers that are missing",
            "short",
            {
                "{{instance}}": 'parley_ring_members{job="chat", service="chat"} - 1 '
                "- on (job, instance) parley_mesh_peer_streams"
            },
        ),
        Panel("Frames", "ops", {"{{direction}}": per_second("parley_mesh_frames_total", "direction")}),
        Panel(
            "Frames lost",
            "ops",
            {
                "dropped, {{instance}}": per_second("parley_mesh_frames_dropped_total", "instance"),
                "failed, {{instance}}": per_second("parley_mesh_frames_failed_total", "instance"),
            },
        ),
        Panel("Lag", "s", quantiles("parley_mesh_lag_seconds")),
        Panel(
            "Lag by server, p99",
            "s",
            {"{{instance}}": quantile(0.99, "parley_mesh_lag_seconds", "instance")},
            "One server above the others: its peers or its network. All but one: that one is slow.",
        ),
    ],
)
CHAT: Final = Dashboard("parley-chat", "Parley chat", [EDGE, OWNER, FAN_OUT, MESH])
