"""The measurement of a mesh frame: every frame of every stream arrives, and none shares a write."""

from prometheus_client import REGISTRY

from bench.mesh_frame import WARM_UP, measure_frame


async def test_every_frame_arrives_and_has_a_cost() -> None:
    before = REGISTRY.get_sample_value("parley_mesh_frames_total", {"direction": "received"}) or 0.0
    assert await measure_frame(100, streams=5, at_work=2) > 0
    received = (REGISTRY.get_sample_value("parley_mesh_frames_total", {"direction": "received"}) or 0.0) - before
    # The last ones may be under way.
    assert WARM_UP + 100 - 2 <= received <= WARM_UP + 100
