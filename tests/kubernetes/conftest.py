"""The renderings that the tests of k8s/ look at."""

from __future__ import annotations

import pytest

from tests.kubernetes.manifests import TARGETS, Rendering, render


@pytest.fixture(params=TARGETS)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Return each rendering of k8s/ in turn."""
    return render(request.param)
