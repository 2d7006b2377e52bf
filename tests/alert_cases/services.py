"""The alerts about chat, presence, media and push, in the situations that try them."""

from __future__ import annotations

from typing import Final

from tests.alert_cases.case import AlertCase, Series


def observations(name: str, bucket: str, labels: str = "") -> Series:
    """Return the buckets of a histogram with 100 observations a minute, all of them in one bucket."""
    bounds = ("0.5", "1", "2", "5", "+Inf")
    reached = bounds[bounds.index(bucket) :]
    return {f'{name}_bucket{{{labels}le="{bound}"}}': "0+100x60" if bound in reached else "0x60" for bound in bounds}


SERVICE_CASES: Final = {
    "ParleySendsRefused": AlertCase(
        fires={
            "parley_entries_appended_total": "0+980x60",
            'parley_sends_refused_total{reason="STORE_UNAVAILABLE"}': "0+20x60",
        },
        earliest=5,
        quiet=(
            {
                "parley_entries_appended_total": "0+995x60",
                'parley_sends_refused_total{reason="STORE_UNAVAILABLE"}': "0+5x60",
            },
            # Refused for what the senders did.
            {
                "parley_entries_appended_total": "0+500x60",
                'parley_sends_refused_total{reason="RATE_LIMITED"}': "0+500x60",
            },
        ),
    ),
    "ParleyCommitsSlow": AlertCase(
        fires=observations("parley_commit_seconds", "2"),
        earliest=10,
        quiet=(observations("parley_commit_seconds", "1"),),
    ),
    "ParleyDeliveriesSlow": AlertCase(
        fires=observations("parley_delivery_seconds", "5"),
        earliest=10,
        quiet=(observations("parley_delivery_seconds", "2"),),
    ),
    "ParleyMeshSlow": AlertCase(
        fires=observations("parley_mesh_lag_seconds", "2", 'instance="a", '),
        labels={"instance": "a"},
        earliest=5,
        quiet=(observations("parley_mesh_lag_seconds", "1", 'instance="a", '),),
    ),
    "ParleyMeshIncomplete": AlertCase(
        fires={
            'parley_mesh_peer_streams{job="chat", instance="a"}': "2x10 1x50",
            'parley_ring_members{job="chat", service="chat", instance="a"}': "3x60",
        },
        labels={"job": "chat", "instance": "a"},
        quiet=(
            {
                'parley_mesh_peer_streams{job="chat", instance="a"}': "2x10 1x1 2x48",
                'parley_ring_members{job="chat", service="chat", instance="a"}': "3x60",
            },
            # A single server has no peers; its rings of other services do not count.
            {
                'parley_mesh_peer_streams{job="chat", instance="a"}': "0x60",
                'parley_ring_members{job="chat", service="chat", instance="a"}': "1x60",
                'parley_ring_members{job="chat", service="presence", instance="a"}': "5x60",
            },
        ),
    ),
    "ParleyMeshFramesLost": AlertCase(
        fires={
            'parley_mesh_frames_dropped_total{instance="a"}': "0x25 9x35",
            'parley_mesh_frames_failed_total{instance="a"}': "0x60",
        },
        labels={"instance": "a"},
        over=40,
        quiet=(
            {
                'parley_mesh_frames_dropped_total{instance="a"}': "9x60",
                'parley_mesh_frames_failed_total{instance="a"}': "0x60",
            },
        ),
    ),
    "ParleyOwnersConflict": AlertCase(
        fires={"parley_commit_conflicts_total": "0+20x60"},
        # The conversations of one server move to others.
        quiet=({"parley_commit_conflicts_total": "0x10 50x50"},),
    ),
    "ParleySlowConsumers": AlertCase(
        fires={"parley_slow_consumers_total": "0+10x60", "parley_sessions": "1000x60"},
        earliest=5,
        quiet=(
            {"parley_slow_consumers_total": "0+5x60", "parley_sessions": "100000x60"},
            {"parley_slow_consumers_total": "0+1x60", "parley_sessions": "10x60"},
        ),
    ),
    "ParleyHandshakesRefused": AlertCase(
        fires={'parley_handshakes_refused_total{instance="a"}': "0+120x60"},
        labels={"instance": "a"},
        earliest=5,
        quiet=({'parley_handshakes_refused_total{instance="a"}': "0+30x60"},),
    ),
    "ParleyPresenceNotReported": AlertCase(
        fires={'parley_presence_report_connected{job="chat"}': "1x10 0x50", 'up{job="presence"}': "1x60"},
        labels={"job": "chat"},
        quiet=(
            {'parley_presence_report_connected{job="chat"}': "1x10 0 1x49", 'up{job="presence"}': "1x60"},
            # A deployment without presence.
            {'parley_presence_report_connected{job="chat"}': "0x60"},
        ),
    ),
    "ParleyPresenceInterrupted": AlertCase(
        fires={'parley_presence_epochs_total{instance="a"}': "0x10 1x2 2x2 3x46"},
        # Redis was emptied twice, as each of three presence servers noticed.
        quiet=({f'parley_presence_epochs_total{{instance="{each}"}}': "0x10 1x5 2x45" for each in "abc"},),
    ),
    "ParleyMediaWorkersDie": AlertCase(
        fires={'parley_media_worker_restarts_total{instance="a", reason="died"}': "0+1x60"},
        labels={"instance": "a"},
        quiet=(
            {'parley_media_worker_restarts_total{instance="a", reason="used up"}': "0+9x60"},
            {'parley_media_worker_restarts_total{instance="a", reason="died"}': "0x10 9x50"},
        ),
    ),
    "ParleyPushQueueOld": AlertCase(
        fires={"parley_push_queue_oldest_seconds": "0x10 70x50"},
        quiet=(
            {"parley_push_queue_oldest_seconds": "2x10 90x3 2x46"},
            {"parley_push_queue_oldest_seconds": "50x60"},
        ),
    ),
    "ParleyPushProviderSuspended": AlertCase(
        fires={'parley_push_suspended{provider="apns"}': "0x10 1x50"},
        labels={"provider": "apns"},
        quiet=({'parley_push_suspended{provider="apns"}': "0x10 1x2 0x47"},),
    ),
    "ParleyPushEventsDropped": AlertCase(
        fires={"parley_push_events_dropped_total": "0x25 40x35"},
        over=40,
        quiet=({"parley_push_events_dropped_total": "40x60"},),
    ),
    "ParleyPushDeadLetters": AlertCase(
        fires={"parley_push_dead_letters": "0+5x60"},
        minute=59,
        # Many were kept before, and some are added.
        quiet=({"parley_push_dead_letters": "5000+1x60"},),
    ),
}
