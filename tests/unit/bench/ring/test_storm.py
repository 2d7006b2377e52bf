"""The return of devices, against times computed by hand, and the bounds that the limits give."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.ring.storm import BucketGate, HandshakeGate, Refusal, simulate_return


def handshakes(rate: float, slots: int = 100) -> HandshakeGate:
    return HandshakeGate(rate, slots, random.Random(1))


def test_handshakes_are_served_one_after_the_other() -> None:
    gate = handshakes(rate=10)
    assert [gate.admit(0.0), gate.admit(0.0), gate.admit(5.0)] == pytest.approx([0.1, 0.2, 5.1])


def test_device_that_would_wait_too_long_is_refused_then() -> None:
    # One slot, and a handshake of 2 s: the third one would wait for 4 s.
    gate = handshakes(rate=0.5, slots=1)
    assert [gate.admit(0.0), gate.admit(0.0)] == [2.0, 4.0]
    refusal = gate.admit(0.0)
    assert isinstance(refusal, Refusal)
    assert refusal.time == 3.0
    assert 0.2 <= refusal.retry_after <= 1.2


def test_device_is_refused_at_once_if_ten_wait_for_each_slot() -> None:
    gate = handshakes(rate=100, slots=1)
    assert not any(isinstance(gate.admit(0.0), Refusal) for _ in range(11))
    refusal = gate.admit(0.0)
    assert isinstance(refusal, Refusal)
    assert refusal.time == 0.0
    # One is served after 10 ms, so there is room again.
    assert gate.admit(0.011) == pytest.approx(0.12)


def test_bucket_accepts_its_burst_and_then_its_rate() -> None:
    gate = BucketGate(burst=3, rate=2)
    assert [gate.admit(0.0) for _ in range(4)] == [0.0, 0.0, 0.0, Refusal(0.0, 0.0)]
    assert gate.admit(0.5) == 0.5
    assert isinstance(gate.admit(0.9), Refusal)
    # It never holds more than its burst.
    assert [isinstance(gate.admit(100.0), Refusal) for _ in range(4)] == [False, False, False, True]


@given(st.integers(1, 400), st.integers(1, 5), st.floats(20, 500))
@settings(max_examples=20, deadline=None)
def test_all_devices_return_and_no_sooner_than_the_rate_allows(devices: int, servers: int, rate: float) -> None:
    storm = simulate_return([number % servers for number in range(devices)], lambda: handshakes(rate))
    assert len(storm.times) == devices <= storm.attempts
    assert list(storm.times) == sorted(storm.times)
    busiest = -(-devices // servers)
    assert storm.quantile(1.0) >= busiest / rate


def test_simulation_repeats_itself() -> None:
    storms = [simulate_return([0] * 3000, lambda: handshakes(200)) for _ in range(2)]
    assert storms[0] == storms[1]
    assert storms[0].attempts > 3000


def test_more_servers_bring_devices_back_sooner() -> None:
    few, many = (simulate_return([n % servers for n in range(4000)], lambda: handshakes(100)) for servers in (2, 20))
    assert many.quantile(0.99) < few.quantile(0.99) / 2
