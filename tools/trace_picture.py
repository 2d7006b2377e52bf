"""The picture of a trace in the documents, docs/trace.svg, drawn from recorded spans, docs/trace.json.

`python -m tools.trace_picture` draws it. `python -m tools.trace_picture --record` first runs a system on this machine
and records the spans of one message.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Final

from opentelemetry import trace

from devstack.services import CHAT
from devstack.stack import Stack
from devstack.tracing import Tracing
from tools.otlp_receiver import OtlpReceiver, Span
from tools.traced_message import CHAT_SERVERS, ENVIRONMENT, make_provider, send_traced_message

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
RECORD, PICTURE = DOCS / "trace.json", DOCS / "trace.svg"
WIDTH, LEFT, RIGHT, TOP, ROW = 860, 240, 80, 56, 30
BAR: Final = 14
TICKS: Final = 5
# By process, in the order of appearance.
COLOURS: Final = ("#8250df", "#57606a", "#1f6feb", "#2da44e", "#d1590a", "#0a7b83")


@dataclass(frozen=True, slots=True)
class RecordedSpan:
    """A span of the picture. `parent` and `links` are positions in the record; times are in µs from its begin."""

    name: str
    process: str
    parent: int | None
    links: list[int]
    start_us: int
    end_us: int


def record_spans(spans: Sequence[Span]) -> list[RecordedSpan]:
    """Return the spans, in the order in which they begin, for the picture: without ids and addresses."""
    positions = {(span.trace_id, span.span_id): number for number, span in enumerate(spans)}
    instances = list(dict.fromkeys(span.instance for span in spans if span.service == "chat"))
    begin_ns = min(span.start_ns for span in spans if span.service != "envoy")
    return [
        RecordedSpan(
            span.name,
            f"chat server {instances.index(span.instance) + 1}" if span.service == "chat" else span.service,
            positions.get((span.trace_id, span.parent_id)),
            [positions[link] for link in span.links if link in positions],
            (span.start_ns - begin_ns) // 1000,
            (span.end_ns - begin_ns) // 1000,
        )
        for span in spans
    ]


def read_record() -> list[RecordedSpan]:
    """Return the spans of docs/trace.json."""
    return [RecordedSpan(**each) for each in json.loads(RECORD.read_text())]


def draw(record: Sequence[RecordedSpan]) -> str:
    """Return the SVG of a record: a row for each span, over the time from the first to the last of the message."""
    end_us = max(span.end_us for span in record if span.process != "envoy")
    height = TOP + ROW * len(record) + 30
    processes = list(dict.fromkeys(span.process for span in record))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "One message from a device to another: the spans of its trace", size=15),
        *_draw_axis(end_us, height),
        *(
            part
            for row, span in enumerate(record)
            for part in _draw_span(record, row, span, COLOURS[processes.index(span.process)], end_us)
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _draw_axis(end_us: int, height: int) -> Iterator[str]:
    for tick in range(TICKS + 1):
        x = _across(end_us * tick / TICKS, end_us)
        yield f'<path d="M{x:.1f} {TOP - 8}V{height - 30}" stroke="#d8dee4"/>'
        yield _text(x, height - 12, f"{end_us * tick / TICKS / 1000:.1f} ms", anchor="middle")


def _draw_span(record: Sequence[RecordedSpan], row: int, span: RecordedSpan, colour: str, end_us: int) -> Iterator[str]:
    y = TOP + ROW * row
    start, end = _across(span.start_us, end_us), _across(span.end_us, end_us)
    is_stream = span.process == "envoy"
    style = (
        f'fill="{colour}" fill-opacity="0.25" stroke="{colour}" stroke-dasharray="4 3"'
        if is_stream
        else f'fill="{colour}"'
    )
    if span.parent is not None:
        yield _draw_edge(record, span.parent, row, end_us, "#57606a", "")
    for link in span.links:
        yield _draw_edge(record, link, row, end_us, "#8c959f", ' stroke-dasharray="2 3"')
    yield f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 1.5):.1f}" height="{BAR}" rx="2" {style}/>'
    yield _text(16, y + 11, span.name, weight="bold")
    yield _text(130, y + 11, span.process, fill=colour)
    duration = "the stream" if is_stream else f"{(span.end_us - span.start_us) / 1000:.2f} ms"
    yield _text(end + 5 if end < WIDTH - RIGHT - 1 else WIDTH - RIGHT + 5, y + 11, duration, size=11)


def _draw_edge(record: Sequence[RecordedSpan], source: int, target: int, end_us: int, colour: str, dashes: str) -> str:
    """Return a line from the span at `source` to the begin of the one at `target`."""
    x = _across(record[target].start_us, end_us)
    first, last = sorted((source, target))
    top, bottom = TOP + ROW * first + BAR, TOP + ROW * last
    return f'<path d="M{x:.1f} {top}V{bottom}" stroke="{colour}"{dashes} fill="none"/>'


def _across(time_us: float, end_us: int) -> float:
    """Return the place of a time on the axis; times outside are cut."""
    return LEFT + min(max(time_us / end_us, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "normal",
    fill: str = "#24292f",
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{fill}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def record() -> None:
    """Run a system that traces everything, send a message, and write its spans to docs/trace.json."""
    with OtlpReceiver() as receiver, tempfile.TemporaryDirectory(prefix="parley-trace-") as folder:
        trace.set_tracer_provider(make_provider(receiver))
        tracing = Tracing(receiver.endpoint, 1.0)
        with Stack(Path(folder), CHAT_SERVERS, services=(CHAT,), tracing=tracing, environment=ENVIRONMENT) as stack:
            spans = asyncio.run(send_traced_message(stack, receiver))
    RECORD.write_text(json.dumps([asdict(each) for each in record_spans(spans)], indent=1) + "\n")


def main(*arguments: str) -> int:
    """Draw the picture, after `--record` of new spans, and return the exit code."""
    if arguments not in ((), ("--record",)):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments:
        record()
    PICTURE.write_text(draw(read_record()))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
