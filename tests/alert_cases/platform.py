"""The alerts about servers and stores, in the situations that try them."""

from __future__ import annotations

from typing import Final

from tests.alert_cases.case import AlertCase

JOBS: Final = ("chat", "media", "presence", "notify", "envoy")
ALL_UP: Final = {f'up{{job="{job}", instance="a"}}': "1x60" for job in JOBS}

PLATFORM_CASES: Final = {
    "ParleyServerDown": AlertCase(
        fires={**ALL_UP, 'up{job="chat", instance="a"}': "1x10 0x50"},
        labels={"job": "chat", "instance": "a"},
        # The pods of a service go, with their series, and no other one is started.
        fires_too=tuple(({**ALL_UP, f'up{{job="{job}", instance="a"}}': "1x10"}, {"job": job}) for job in JOBS),
        quiet=(
            ALL_UP,
            # A restart that is over within a minute.
            {**ALL_UP, 'up{job="chat", instance="a"}': "1x10 0 1x49"},
            # A pod is replaced by another one, whose series begins later.
            {**ALL_UP, 'up{job="envoy", instance="a"}': "1x10 stale", 'up{job="envoy", instance="b"}': "_x11 1x49"},
            {**ALL_UP, 'up{job="node", instance="a"}': "0x60"},
        ),
    ),
    "ParleyRingsDiffer": AlertCase(
        fires={
            'parley_ring_members{job="chat", service="chat", instance="a"}': "3x60",
            'parley_ring_members{job="chat", service="chat", instance="b"}': "2x60",
        },
        labels={"service": "chat"},
        quiet=(
            {
                'parley_ring_members{job="chat", service="chat", instance="a"}': "3x60",
                'parley_ring_members{job="chat", service="chat", instance="b"}': "2x1 3x58",
            },
        ),
    ),
    "ParleyServerNotInRing": AlertCase(
        fires={
            'up{job="chat", instance="a"}': "1x60",
            'up{job="chat", instance="b"}': "1x60",
            'parley_ring_members{job="chat", service="chat", instance="a"}': "1x60",
        },
        earliest=2,
        quiet=(
            {
                'up{job="chat", instance="a"}': "1x60",
                'up{job="chat", instance="b"}': "0x60",
                'parley_ring_members{job="chat", service="chat", instance="a"}': "1x60",
            },
        ),
    ),
    "ParleyRingUnstable": AlertCase(
        fires={
            'parley_ring_changes_total{service="chat", instance="a"}': "0+4x60",
            'parley_ring_members{service="chat", instance="a"}': "3x60",
        },
        labels={"service": "chat"},
        earliest=5,
        quiet=(
            # Rolling restarts of three and of twenty servers.
            {
                'parley_ring_changes_total{service="chat", instance="a"}': "0x10 1+1x5 6x45",
                'parley_ring_members{service="chat", instance="a"}': "3x60",
            },
            {
                'parley_ring_changes_total{service="chat", instance="a"}': "0x10 0+4x10 40x45",
                'parley_ring_members{service="chat", instance="a"}': "20x60",
            },
        ),
    ),
    "ParleyLeaseLost": AlertCase(
        fires={'parley_lease_losses_total{instance="a"}': "0x20 1+1x2 3x40"},
        labels={"instance": "a"},
        over=45,
        quiet=({'parley_lease_losses_total{instance="a"}': "0x20 1x40"},),
    ),
    "ParleyCertificateExpires": AlertCase(
        # At minute 20 five days are left.
        fires={'parley_tls_certificate_expiry_timestamp_seconds{identity="chat", instance="a"}': "433200x60"},
        labels={"identity": "chat"},
        earliest=19,
        quiet=({'parley_tls_certificate_expiry_timestamp_seconds{identity="chat", instance="a"}': "864000x60"},),
    ),
    "ParleyInternalErrors": AlertCase(
        # The first such call of a server; the series begins with it.
        fires={'parley_rpc_finished_total{job="chat", service="s", method="m", code="INTERNAL"}': "_x25 1x35"},
        labels={"job": "chat", "service": "s", "method": "m"},
        over=40,
        quiet=({'parley_rpc_finished_total{job="chat", service="s", method="m", code="UNAVAILABLE"}': "0+9x60"},),
    ),
    "ParleyServiceCallsFail": AlertCase(
        fires={
            'parley_outgoing_calls_total{job="chat", method="m", code="OK"}': "0+94x60",
            'parley_outgoing_calls_total{job="chat", method="m", code="UNAVAILABLE"}': "0+6x60",
        },
        labels={"job": "chat", "method": "m"},
        earliest=5,
        quiet=(
            {
                'parley_outgoing_calls_total{job="chat", method="m", code="OK"}': "0+96x60",
                'parley_outgoing_calls_total{job="chat", method="m", code="UNAVAILABLE"}': "0+4x60",
            },
            # Refused for what was asked: the service works.
            {'parley_outgoing_calls_total{job="chat", method="m", code="NOT_FOUND"}': "0+90x60"},
        ),
    ),
    "ParleyNoHealthyUpstream": AlertCase(
        fires={'envoy_cluster_membership_healthy{envoy_cluster_name="chat"}': "3x10 0x50"},
        labels={"envoy_cluster_name": "chat"},
        quiet=(
            {'envoy_cluster_membership_healthy{envoy_cluster_name="chat"}': "3x10 1x50"},
            {'envoy_cluster_membership_healthy{envoy_cluster_name="chat"}': "3x10 0 3x49"},
        ),
    ),
    "ParleyMongoDBNotWritable": AlertCase(
        fires={'parley_store_writable{instance="a"}': "1x10 0x50"},
        labels={"instance": "a"},
        # A failover within a minute.
        quiet=({'parley_store_writable{instance="a"}': "1x10 0 1x49"},),
    ),
    "ParleyEtcdUnreachable": AlertCase(
        fires={'parley_etcd_reachable{instance="a"}': "1x10 0x50"},
        labels={"instance": "a"},
        quiet=({'parley_etcd_reachable{instance="a"}': "1x10 0x1 1x48"},),
    ),
    "ParleyChangeIndexDown": AlertCase(
        fires={'parley_index_up{job="chat"}': "1x10 0x50"},
        labels={"job": "chat"},
        quiet=({'parley_index_up{job="chat"}': "1x10 0x1 1x48"},),
    ),
    "ParleyChangeIndexUnstable": AlertCase(
        fires={'parley_index_generation{job="chat"}': "5x10 6x2 7x2 8x50"},
        # One failover of Redis.
        quiet=({'parley_index_generation{job="chat"}': "5x10 6x50"},),
    ),
    "ParleyS3Down": AlertCase(
        fires={'parley_s3_up{job="media"}': "1x10 0x50"},
        labels={"job": "media"},
        quiet=({'parley_s3_up{job="media"}': "1x10 0x1 1x48"},),
    ),
}
