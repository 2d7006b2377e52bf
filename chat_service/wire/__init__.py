"""Conversion between the domain's dataclasses and serialised protobuf messages, by pure functions."""
