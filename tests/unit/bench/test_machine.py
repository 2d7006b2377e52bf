"""The description of the benchmark machine."""

import pytest

from bench.machine import describe_machine, measure_pace_ms, parse_version


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("db version v6.0.5\nBuild Info: {}", "6.0.5"),
        ("Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.0", "9.1.2"),
        ("envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
        ("nothing of the kind", "unknown"),
    ],
)
def test_server_versions_are_parsed(said: str, version: str) -> None:
    assert parse_version(said) == version


def test_this_machine_is_fully_described() -> None:
    here = describe_machine()
    assert all(here.values())
    assert "unknown" not in here.values()


def test_pace_is_least_cpu_time_of_several_tries_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_seconds = iter([1.0, 1.5, 2.0, 2.02, 3.0, 3.4, 4.0, 4.3, 5.0, 5.1])
    monkeypatch.setattr("time.process_time", lambda: next(cpu_seconds))
    assert measure_pace_ms() == pytest.approx(20)
    assert next(cpu_seconds, None) is None, "five tries"
