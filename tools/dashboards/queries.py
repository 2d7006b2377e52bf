"""PromQL expressions that several panels have in common."""

from __future__ import annotations


def per_second(metric: str, *labels: str) -> str:
    """Return the rate of a counter, summed over servers, by these labels."""
    return f"sum{_by(*labels)} (rate({metric}[$__rate_interval]))"


def quantile(share: float, histogram: str, *labels: str) -> str:
    """Return a quantile of a histogram over all servers, by these labels."""
    return f"histogram_quantile({share}, {per_second(f'{histogram}_bucket', *labels, 'le')})"


def quantiles(histogram: str) -> dict[str, str]:
    """Return the median and the 99th percentile by legend."""
    return {"p50": quantile(0.5, histogram), "p99": quantile(0.99, histogram)}


def share_within(histogram: str, bound: str) -> str:
    """Return the share of the observations that are at most `bound`, which is a bucket of the histogram."""
    within = f'{histogram}_bucket{{le="{bound}"}}'
    return f"{per_second(within)} / {per_second(f'{histogram}_count')}"


def _by(*labels: str) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
