"""The demand of a usage model, against numbers computed by hand."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity.assumption import OutOfBounds, parameters
from bench.capacity.demand import Demand, compute_demand, mean_file_megabytes, mean_recipients
from bench.capacity.usage_model import UsageModel

# 86,400 users with one message a day each: one message a second, two at the peak.
BY_HAND = UsageModel(
    daily_users=86_400,
    peak_factor=2,
    online_share=0.5,
    devices_per_user=2,
    foreground_share=0.5,
    messages_per_user=1,
    group_share=0.25,
    group_size=5,
    connected_recipients=0.5,
    away_recipients=0.8,
    pushes_per_delivery=0.5,
    receipts_per_delivery=0.5,
    touched_share=1,
    connects_per_user=3,
    token_seconds=600,
    foreground_heartbeat_seconds=4,
    background_heartbeat_seconds=60,
    changes_per_user=4,
    watchers=3,
    media_share=0.5,
    picture_share=0.5,
    picture_megabytes=1,
    picture_megapixels=3,
    other_megabytes=3,
    downloads_per_recipient=1,
    downloaded_share=0.5,
)


def test_demand_by_hand() -> None:
    demand = compute_demand(BY_HAND)
    assert demand.streams == 86_400
    assert demand.messages == pytest.approx(2)
    assert demand.messages_per_day == 86_400
    # Three of four messages have one recipient, the fourth has four.
    assert demand.recipients == pytest.approx(2 * 1.75)
    assert demand.deliveries == pytest.approx(1.75)
    # Two devices for each delivery, and the sender's other one.
    assert demand.frames == pytest.approx(2 * 1.75 + 2)
    assert demand.receipts == pytest.approx(0.875)
    assert demand.touches == pytest.approx(3.5 + 2)
    assert demand.heartbeats == pytest.approx(86_400 * (0.5 / 4 + 0.5 / 60))
    assert demand.connects == pytest.approx(6)
    assert demand.refreshes == pytest.approx(144)
    assert demand.changes == pytest.approx(8)
    assert demand.presence_deliveries == pytest.approx(24)
    assert demand.pushes == pytest.approx(3.5 * 0.8 * 0.5)
    assert demand.uploads == pytest.approx(1)
    assert demand.megapixels == pytest.approx(1.5)
    assert demand.uploaded_megabytes == pytest.approx(2)
    assert demand.downloads == pytest.approx(1.75)
    assert demand.downloaded_megabytes == pytest.approx(1.75)


def test_means_by_hand() -> None:
    assert mean_recipients(BY_HAND) == pytest.approx(1.75)
    assert mean_file_megabytes(BY_HAND) == pytest.approx(2)


@given(st.floats(1, 1e9), st.floats(1, 100))
def test_demand_is_proportional_to_the_users(users: float, factor: float) -> None:
    few, many = (compute_demand(replace(BY_HAND, daily_users=each)) for each in (users, users * factor))
    for each in fields(Demand):
        assert getattr(many, each.name) == pytest.approx(getattr(few, each.name) * factor)


@pytest.mark.parametrize("name", [each.name for each in parameters(UsageModel) if each.maximum == 1])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_share_outside_of_its_bounds_is_refused(name: str, value: float) -> None:
    with pytest.raises(OutOfBounds, match=f"--{name.replace('_', '-')} must be at least"):
        replace(BY_HAND, **{name: value})
