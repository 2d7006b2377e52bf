"""Under CI a skipped test fails unless its skip was reviewed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_CONFTEST = Path(__file__).parent.parent / "conftest.py"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Return a test suite with the hooks under test, one skipped test and one passing test."""
    shutil.copy(_CONFTEST, pytester.path / "conftest.py")
    text = (pytester.path / "conftest.py").read_text().replace('pytest_plugins = ["tests.stack"]', "")
    (pytester.path / "conftest.py").write_text(text)
    (pytester.path / "skips.txt").write_text("# none\n")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.skip(reason="no time")
        def test_skipped(): ...

        def test_done(): ...
        """
    )
    return pytester


def test_skip_fails_under_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_inprocess()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_skipped was skipped, and is not in skips.txt: Skipped: no time*"])
    result.assert_outcomes(errors=1, passed=1)


def test_skip_passes_without_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    suite.runpytest_inprocess().assert_outcomes(passed=1, skipped=1)


def test_reviewed_skip_passes_under_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    (suite.path / "skips.txt").write_text("test_it.py::test_skipped # no time\n")
    suite.runpytest_inprocess().assert_outcomes(passed=1, skipped=1)


def test_skipped_file_fails_under_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(test_file='import pytest\npytest.importorskip("no_such_module")')
    result = suite.runpytest_inprocess("test_file.py")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*test_file.py was skipped, and is not in skips.txt*"])
