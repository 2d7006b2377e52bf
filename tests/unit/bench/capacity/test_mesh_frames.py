"""The frames of the mesh, against every placement of a few users on a few servers."""

from collections.abc import Iterator
from itertools import product
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity.mesh import crossing_share, direct_frames, distinct_homes, group_frames, streams_in_all


def placements(servers: int, users: int) -> Iterator[tuple[int, ...]]:
    return product(range(servers), repeat=users)


@pytest.mark.parametrize("servers", [1, 2, 3, 5])
def test_direct_frames_equal_the_mean_over_all_placements(servers: int) -> None:
    # The owner is the home of one of the two: the sender's, or the recipient's, to which the send and its answer go.
    counts = [
        (sender != recipient) * (1 if owner_is_sender else 2)
        for sender, recipient in placements(servers, 2)
        for owner_is_sender in (True, False)
    ]
    assert direct_frames(servers, receipts=0) == pytest.approx(fmean(counts))


@pytest.mark.parametrize(("servers", "recipients"), [(1, 3), (2, 3), (3, 2), (4, 4)])
def test_group_frames_equal_the_mean_over_all_placements(servers: int, recipients: int) -> None:
    # The first is the owner, the second the sender.
    counts = [
        2 * (sender != owner) + len({home for home in homes if home != owner})
        for owner, sender, *homes in placements(servers, recipients + 2)
    ]
    assert group_frames(servers, recipients, receipts=0) == pytest.approx(fmean(counts))


@given(st.integers(1, 2000), st.floats(1, 1000))
def test_a_message_reaches_at_most_every_server_and_every_recipient_once(servers: int, recipients: float) -> None:
    homes = distinct_homes(recipients, servers)
    assert 1 - 1e-9 <= homes <= min(servers, recipients) + 1e-9


@given(st.integers(1, 2000), st.integers(1, 500), st.floats(0, 5))
def test_frames_grow_with_the_servers(servers: int, more: int, receipts: float) -> None:
    assert direct_frames(servers, receipts) <= direct_frames(servers + more, receipts)
    assert group_frames(servers, 11, receipts) <= group_frames(servers + more, 11, receipts) + 1e-9


def test_one_server_has_no_mesh() -> None:
    assert crossing_share(1) == direct_frames(1, 1) == group_frames(1, 50, 50) == streams_in_all(1) == 0


@pytest.mark.parametrize(("servers", "streams"), [(2, 1), (3, 3), (1000, 499_500)])
def test_there_is_one_stream_for_each_pair(servers: int, streams: int) -> None:
    assert streams_in_all(servers) == streams
