"""Implementations of the ports of presence, on Redis and MongoDB."""
