"""A scenario of several users and devices that checks every promise of a running system from outside."""

from parley_client.demo.report import Report, Verdict
from parley_client.demo.scenario import run_demo

__all__ = ["Report", "Verdict", "run_demo"]
