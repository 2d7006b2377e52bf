"""Presence follows from the streams of a user's devices, and settings decide who may see it."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence_service.model.leases import CLAIM_MS, LEASE_MS, MAX_RESTORE_MS, RESTORE_MS, Lease, Leases
from presence_service.model.presence import (
    CLOSE_GRACE_MS,
    OFFLINE,
    DeviceStream,
    Presence,
    PresenceRecord,
    PresenceState,
    observe,
)
from presence_service.model.visibility import (
    Audience,
    Permission,
    Relation,
    Visibility,
    permission_for,
    restrict,
)

NOW = 1_700_000_000_000


def lease_end(server_id: str, _: int) -> float:
    return {"alive": NOW + 9_000, "dead": NOW - 500}.get(server_id, -math.inf)


def stream(server: str = "alive", *, foreground: bool = True, closed_ms: int = 0) -> DeviceStream:
    return DeviceStream(server, 1, foreground, closed_ms)


def state_of(*streams: DeviceStream, seen_ms: int = 0) -> tuple[str, int, float]:
    presence, until_ms = observe(PresenceRecord(streams, seen_ms), lease_end, NOW)
    return presence.state.name, presence.seen_ms, until_ms


def test_user_without_streams_is_offline_for_ever() -> None:
    assert state_of() == ("OFFLINE", 0, math.inf)
    assert state_of(seen_ms=7) == ("OFFLINE", 7, math.inf)


def test_any_device_in_the_foreground_makes_the_user_online() -> None:
    assert state_of(stream(foreground=False), stream()) == ("ONLINE", 0, NOW + 9_000)
    assert state_of(stream(foreground=False), seen_ms=5) == ("BACKGROUND", 5, NOW + 9_000)


def test_closed_stream_counts_for_the_grace() -> None:
    closed = NOW - 1_000
    assert state_of(stream(closed_ms=closed)) == ("ONLINE", 0, closed + CLOSE_GRACE_MS)
    closed = NOW - CLOSE_GRACE_MS
    assert state_of(stream(closed_ms=closed)) == ("OFFLINE", closed, math.inf)


def test_streams_of_a_dead_server_end_with_its_lease() -> None:
    assert state_of(stream("dead")) == ("OFFLINE", NOW - 500, math.inf)
    assert state_of(stream("unknown"), seen_ms=3) == ("OFFLINE", 3, math.inf)
    # The device came back at another server.
    assert state_of(stream("dead"), stream()) == ("ONLINE", 0, NOW + 9_000)


def test_background_after_the_foreground_stream_has_ended() -> None:
    closed = NOW - 2_000
    presence = state_of(stream(closed_ms=closed), stream(foreground=False))
    assert presence == ("ONLINE", 0, closed + CLOSE_GRACE_MS)


def test_lease_lasts_from_its_last_renewal() -> None:
    leases = Leases(NOW, NOW - 60_000, {"one": Lease(1, NOW - 4_000), "two": Lease(2, NOW - LEASE_MS)})
    assert leases.end_of("one", 1) == NOW - 4_000 + LEASE_MS
    assert leases.end_of("one", 2) == -math.inf
    assert leases.end_of("three", 1) == -math.inf
    assert leases.to_end == [("two", 2)]
    assert leases.alive == {("one", 1)}


def test_streams_are_ended_by_one_server_at_a_time() -> None:
    claimed = Leases(NOW, 0, {"two": Lease(2, NOW - 1, is_ending=True)})
    assert claimed.alive == frozenset()
    assert claimed.to_end == []
    abandoned = Leases(NOW, 0, {"two": Lease(2, NOW - CLAIM_MS, is_ending=True)})
    assert abandoned.to_end == [("two", 2)]


def test_nothing_ends_while_chat_servers_report_again() -> None:
    leases = Leases(NOW, NOW - RESTORE_MS + 1, {"two": Lease(2, NOW - LEASE_MS)})
    assert leases.is_restoring
    assert leases.to_end == []
    assert leases.end_of("three", 1) > NOW
    later = Leases(NOW + 1, NOW - RESTORE_MS + 1, leases.by_server)
    assert later.to_end == [("two", 2)]
    assert later.end_of("three", 1) == -math.inf


@pytest.mark.parametrize(
    ("lease", "is_restoring"),
    [
        (Lease(1, NOW - 1, is_complete=False), True),
        (Lease(1, NOW - 1), False),
        # Its server is dead, and reports nothing any more.
        (Lease(1, NOW - LEASE_MS, is_complete=False), False),
        (Lease(1, NOW - 1, is_ending=True, is_complete=False), False),
    ],
    ids=["incomplete", "complete", "ended", "ending"],
)
def test_restoration_lasts_until_all_servers_have_reported(lease: Lease, is_restoring: bool) -> None:
    others = {"two": Lease(2, NOW)}
    assert Leases(NOW, NOW - RESTORE_MS + 1, others | {"one": lease}).is_restoring
    assert Leases(NOW, NOW - RESTORE_MS, others | {"one": lease}).is_restoring == is_restoring
    assert not Leases(NOW, NOW - MAX_RESTORE_MS, others | {"one": lease}).is_restoring


audiences = st.sampled_from(Audience)
settings = st.builds(Visibility, audiences, audiences)
relations = st.builds(Relation, st.booleans(), st.booleans())
presences = st.builds(Presence, st.sampled_from(PresenceState), st.integers(0, 10**13))


@given(settings, settings, relations, presences)
def test_hidden_users_look_like_one_who_never_was_online(
    viewer: Visibility, shown: Visibility, relation: Relation, presence: Presence
) -> None:
    seen = restrict(presence, permission_for(viewer, shown, relation))
    hidden = (
        relation.blocked
        or Audience.NOBODY in (viewer.online, shown.online)
        or (shown.online is Audience.ACQUAINTED and not relation.acquainted_by)
    )
    if hidden:
        assert seen == OFFLINE
    else:
        assert seen.state == presence.state
        hides_time = Audience.NOBODY in (viewer.last_seen, shown.last_seen) or (
            shown.last_seen is Audience.ACQUAINTED and not relation.acquainted_by
        )
        assert seen.seen_ms == (0 if hides_time or presence.state is PresenceState.ONLINE else presence.seen_ms)


@pytest.mark.parametrize(("online", "last_seen"), list(product(Audience, Audience)))
def test_last_seen_is_never_wider_than_online(online: Audience, last_seen: Audience) -> None:
    for relation in (Relation(), Relation(acquainted_by=True)):
        permission = permission_for(
            Visibility(Audience.EVERYONE, Audience.EVERYONE), Visibility(online, last_seen), relation
        )
        shown = online is Audience.EVERYONE or (online is Audience.ACQUAINTED and relation.acquainted_by)
        assert (permission >= Permission.ONLINE) == shown
