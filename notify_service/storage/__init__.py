"""Implementations of the ports of notify, on Redis and MongoDB."""
