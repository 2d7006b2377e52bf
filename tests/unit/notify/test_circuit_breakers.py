"""Circuit breakers: a host that does not answer is paused, and probed after the pause."""

from __future__ import annotations

from contextlib import suppress

import pytest

from notify_service.providers.circuit_breakers import PAUSE_S, UNREACHABLE_IN_A_ROW, CircuitBreakers
from notify_service.providers.connections import ClientBusy, ConnectionLost, ProviderUnreachable
from tests.clock import ManualClock

SILENCE = ProviderUnreachable("timed out")


class Requests:
    """Requests to hosts, each of which fails or is answered."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.breakers = CircuitBreakers(self.clock)
        self.sent = 0

    def send(self, host: str = "push", failure: Exception | None = None) -> None:
        with self.breakers.request(host):
            self.sent += 1
            if failure is not None:
                raise failure

    def fail(self, failure: Exception = SILENCE, times: int = UNREACHABLE_IN_A_ROW) -> None:
        for _ in range(times):
            with suppress(ProviderUnreachable):
                self.send(failure=failure)

    def assert_paused(self) -> None:
        sent = self.sent
        with pytest.raises(ProviderUnreachable, match="the provider does not answer"):
            self.send()
        assert self.sent == sent


@pytest.fixture
def requests() -> Requests:
    return Requests()


def test_host_that_does_not_answer_is_paused_and_others_are_not(requests: Requests) -> None:
    requests.fail()
    requests.assert_paused()
    requests.send("other")
    requests.clock.advance(PAUSE_S - 0.1)
    requests.assert_paused()


def test_answer_between_starts_the_count_again(requests: Requests) -> None:
    requests.fail(times=UNREACHABLE_IN_A_ROW - 1)
    requests.send()
    requests.fail(times=UNREACHABLE_IN_A_ROW - 1)
    requests.send()


@pytest.mark.parametrize("failure", [ConnectionLost("lost"), ClientBusy("push")])
def test_connection_that_is_lost_and_a_busy_client_neither_count_nor_answer(
    requests: Requests, failure: ProviderUnreachable
) -> None:
    requests.fail(failure)
    requests.fail(times=UNREACHABLE_IN_A_ROW - 1)
    requests.fail(failure)
    requests.fail(times=1)
    requests.assert_paused()


def test_one_probe_is_sent_after_the_pause_and_its_answer_ends_it(requests: Requests) -> None:
    requests.fail()
    requests.clock.advance(PAUSE_S)
    with requests.breakers.request("push"):
        requests.assert_paused()
    requests.fail(times=UNREACHABLE_IN_A_ROW - 1)
    requests.send()


def test_probe_without_an_answer_begins_another_pause(requests: Requests) -> None:
    requests.fail()
    requests.clock.advance(PAUSE_S)
    requests.fail(times=1)
    requests.assert_paused()
    requests.clock.advance(PAUSE_S)
    requests.send()


def test_probe_that_is_cancelled_leaves_the_next_request_to_probe(requests: Requests) -> None:
    requests.fail()
    requests.clock.advance(PAUSE_S)
    with pytest.raises(KeyboardInterrupt), requests.breakers.request("push"):
        raise KeyboardInterrupt
    requests.send()


def test_late_answer_to_a_request_before_the_pause_ends_it(requests: Requests) -> None:
    with requests.breakers.request("push"):
        requests.fail()
        requests.assert_paused()
    requests.send()
