"""Benchmarks of a whole system on this machine: the cost of a message, a delivery and an idle device."""
