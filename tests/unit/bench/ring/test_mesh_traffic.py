"""The mesh frames that are counted on the ring, against the formulas of the capacity model."""

import pytest

from bench.ring.mesh_traffic import measure_mesh
from bench.ring.ring_model import RingModel

MODEL = RingModel(conversations=2000, group_size=6, group_share=0.5, messages=10)


@pytest.mark.parametrize("servers", [2, 20, 200])
def test_counted_frames_are_close_to_the_computed_ones(servers: int) -> None:
    # The formulas assume equal shares; with 128 virtual nodes the shares of the ring deviate by about a tenth.
    traffic = measure_mesh(servers, MODEL)
    assert traffic.direct == pytest.approx(traffic.computed_direct, rel=0.1)
    assert traffic.group == pytest.approx(traffic.computed_group, rel=0.1)


def test_frames_of_a_stream_by_hand() -> None:
    traffic = measure_mesh(5, MODEL)
    # 50 messages per second in all, over 10 streams.
    assert traffic.per_stream == pytest.approx(50 * (traffic.direct + traffic.group) / 2 / 10)
